#!/bin/bash
# Trust the tasks of the base commit, and put them into the working tree of the change: part of action.yml and gitlab.yml.
#
# The tree is turned into the base for as long as `pairlock ci trust` reads it, and then back into the change. What is
# trusted is a digest of the tasks and of everything that they name: where the change has another policy than the base,
# the tasks are refused. Taken from the base as well are the tasks themselves and the recordings, so that a change can
# neither leave a task out nor choose what its agent does.
#
# From the environment: BASE, a commit; TASKS, a folder; CONFIGURATION and REPLAY, which may be empty; XDG_CONFIG_HOME.
set -euo pipefail

# Nothing of the change's runs here: no hook, no monitor, and no filter that attributes could name. Those of the host's
# configuration are not read, and those of git-lfs, which checkouts configure, copy: its files are pointers afterwards.
in_tree() {
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_ATTR_NOSYSTEM=1 GIT_LFS_SKIP_SMUDGE=1 \
        git "${quiet[@]}" -c "safe.directory=$PWD" -c filter.lfs.process= -c filter.lfs.smudge=cat \
        -c filter.lfs.clean=cat -c filter.lfs.required=false --literal-pathspecs "$@"
}
quiet=(-c core.hooksPath=/dev/null -c core.fsmonitor=false -c submodule.recurse=false)

# Without --overlay, what the commit does not hold is removed; git follows no link that stands in a path's way.
put() {
    in_tree restore "--source=$1" --staged --worktree --no-overlay -- "$2"
}

# What git knows nothing of, as in a submodule of the change's, stays where it is; so these folders are made anew.
# They are put twice, because the first time replaces every link that leads to them.
put_alone() {
    put "$1" "$2"
    rm -rf -- "$2"
    put "$1" "$2"
}

fail() {
    echo "$1" >&2
    exit 2
}

trusted=${BASE:?the commit that is trusted}
[[ $trusted =~ ^[0-9A-Za-z_][0-9A-Za-z._/-]*$ ]] || fail "\`$trusted\` names no commit"
for folder in "$TASKS" ${REPLAY:+"$REPLAY"} ${CONFIGURATION:+"$CONFIGURATION"}; do
    case "/$folder/" in
        //* | */../* | /-*) fail "\`$folder\` is no path below the repository" ;;
    esac
done
# The host's own configuration says whose repositories may be used, and how to reach the server; here alone it is read.
cd "$(git "${quiet[@]}" rev-parse --show-toplevel)"
change=$(in_tree rev-parse --verify 'HEAD^{commit}')
# A commit that a shallow checkout left out is fetched by its id.
if ! base=$(in_tree rev-parse --quiet --verify "$trusted^{commit}"); then
    git "${quiet[@]}" fetch --quiet --depth=1 --no-tags --no-recurse-submodules origin "$trusted"
    base=$(in_tree rev-parse --verify 'FETCH_HEAD^{commit}')
fi
for named in "$TASKS" ${REPLAY:+"$REPLAY"} ${CONFIGURATION:+"$CONFIGURATION"}; do
    case "$(in_tree ls-tree "$base" -- "${named%/}")" in # a link or a submodule leads to what the change decides
        "" | 120000\ * | 160000\ *) fail "the base itself holds no \`$named\`" ;;
    esac
done

put "$base" .
put_alone "$base" "$TASKS"
pairlock ci trust -- "$TASKS"
if [ -n "${CONFIGURATION:-}" ]; then
    mkdir -p "$XDG_CONFIG_HOME/pairlock"
    cp -- "$CONFIGURATION" "$XDG_CONFIG_HOME/pairlock/config.yaml"
    chmod 600 "$XDG_CONFIG_HOME/pairlock/config.yaml"
fi
put "$change" .
for folder in "$TASKS" ${REPLAY:+"$REPLAY"}; do
    put_alone "$base" "$folder"
done
