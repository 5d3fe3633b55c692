"""Know how the interpreters of common images read their words: one row for each family of them.

A row says what is known. What it does not say is taken for the worse: an option that is in no row may take
the next word or not. So a gap in a row refuses a file too many; `--` ends the options for most programs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_NONE: Final = frozenset[str]()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How programs of one kind read their words. Options are as they are written, `-c` and `--eval`."""

    code: frozenset[str] = _NONE
    """Their value is the program text, or the file that it is in."""
    module: frozenset[str] = _NONE
    """Their value names a module, which is the program unless it runs another."""
    takes: frozenset[str] = _NONE
    """They have another value, which could name code too; the program text is yet to come."""
    plain: frozenset[str] = _NONE
    """Their value is a text to the program, or a file that is no program."""
    pairs: frozenset[str] = _NONE
    """Two words behind them are plain: `--arg name value`."""
    named: frozenset[str] = _NONE
    """Their value is a variable's when the word begins `name=`."""
    flags: frozenset[str] = _NONE
    """They have no value; short ones may stand together, `-ne`."""
    glued: frozenset[str] = _NONE
    """What follows in their word, if anything, is their value: `-i.bak`, `-I/lib`."""
    runs: frozenset[str] = _NONE
    """First words behind which the program text is yet to come: `deno run`."""
    closed: frozenset[str] = _NONE
    """Words and options behind which nothing an agent writes is safe: it is run, or standard input is."""
    permutes: bool = True
    """Whether options are read behind the program text and operands as well."""
    code_ends: bool = False
    """Whether nothing behind the value of a code option is an option."""
    joins: bool = True
    """Whether a short option's value may follow in its word; for shells what follows are further options."""
    one_dash: bool = False
    """Whether long options have one dash, and short ones are not put together: `-init`."""
    plus: bool = False
    """Whether options begin with `+` as well."""
    is_fed: bool = False
    """Whether no word is program text by its place, and any text may be a command: `.shell` of sqlite3(1)."""
    is_closed: bool = False
    """Whether any word may be code, or a file that is run."""
    has_dashes: bool = False
    """Whether a `--` behind the program text ends the options for what it reads itself."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _short(letters: str, more: str = "") -> frozenset[str]:
    return frozenset(f"-{letter}" for letter in letters) | _set(more)


_SHELL: Final = Family(
    flags=_short("abcefhiklmnprtuvxBCEH", "--login --norc --noprofile --posix --restricted --verbose"),
    takes=_set("-o -O --rcfile --init-file"),
    closed=_set("-s"),
    permutes=False,
    joins=False,
    plus=True,
)
"""`-c` is a flag: the text is the first word that is no option (POSIX, sh)."""
_PYTHON: Final = Family(
    code=_set("-c"),
    module=_set("-m"),
    takes=_set("-W -X --check-hash-based-pycs"),
    flags=_short("bBdEhIOPqRsSuvVx"),
    closed=_set("-i"),
    permutes=False,
    code_ends=True,
)
_PERL: Final = Family(
    code=_set("-e -E"),
    takes=_set("-I"),
    flags=_short("acfghlnpsStTuUvwWX01234567"),
    glued=_set("-F -i -M -m -x"),
    permutes=False,
)
_RUBY: Final = Family(
    code=_set("-e"),
    takes=_set("-r -I -C -E"),
    flags=_short("aclnpsSvwWyh01234567", "--disable-gems --yjit --jit"),
    glued=_set("-F -i -x"),
    permutes=False,
)
_NODE: Final = Family(
    code=_set("-e -p -pe --eval --print"),
    takes=_set("-r -C --require --import --loader --experimental-loader --conditions --env-file --title"),
    flags=_short(
        "c", "--check --no-warnings --no-deprecation --trace-warnings --enable-source-maps --permission"
    ),
    runs=_set("inspect debug"),
    closed=_set("-i --interactive --test --run"),
    permutes=False,
)
_PHP: Final = Family(
    code=_set("-r -f -B -R -E -F --run --file"),
    takes=_set("-d -c -z -t -S"),
    flags=_short("nqsCe"),
    closed=_set("-a"),
    permutes=False,
)
_LUA: Final = Family(
    takes=_set("-e -l"), flags=_short("vEW"), glued=_set("-j -O -b"), closed=_set("-i"), permutes=False
)
"""With `-e` and `-l` the script is still the first word (lua(1))."""
_AWK: Final = Family(
    code=_set("-f -e -E --file --source --exec"),
    takes=_set("-l -F -W --load --field-separator"),
    named=_set("-v --assign"),
    flags=_short("bcCghIkMnNOPrsStV", "--csv --posix --traditional --sandbox --re-interval --bignum -safe"),
    permutes=False,
)
"""gawk's `-i -` reads a part of the program from standard input; `-i` in no set refuses that."""
_SED: Final = Family(
    code=_set("-e -f --expression --file"),
    takes=_set("-l --line-length"),
    flags=_short(
        "nErsuzb",
        "--quiet --silent --regexp-extended --separate --unbuffered --null-data --posix --debug --sandbox"
        " --follow-symlinks --binary --in-place",
    ),
    glued=_set("-i"),
    has_dashes=True,
)
_JQ: Final = Family(
    code=_set("-f --from-file"),
    takes=_set("-L --library-path --indent"),
    pairs=_set("--arg --argjson --slurpfile --rawfile --argfile"),
    flags=_short(
        "nrRjasSCMceVh",
        "--null-input --raw-input --slurp --compact-output --raw-output --raw-output0 --join-output"
        " --ascii-output --sort-keys --color-output --monochrome-output --tab --unbuffered --stream --seq"
        " --stream-errors --exit-status --args --jsonargs",
    ),
    has_dashes=True,
)
_YQ: Final = Family(
    code=_set("-f --from-file --expression"),
    takes=_set("-o -p -I -L --output-format --input-format --indent"),
    pairs=_JQ.pairs,
    flags=_short("nrPCMjNe", "--null-input --unwrapScalar --prettyPrint --exit-status --no-doc --inplace"),
    runs=_set("eval e eval-all ea"),
    has_dashes=True,
)
_DENO: Final = Family(
    takes=_set("-c -L --config --import-map --preload --import --lock"),
    flags=_short(
        "AqrRWNESI", "--allow-all --allow-read --allow-write --allow-net --allow-env --no-prompt --quiet"
    ),
    runs=_set("run eval serve"),
    closed=_set("test bench task x install add compile bundle jupyter create init repl"),
    permutes=False,
)
_BUN: Final = Family(
    code=_set("-e -p --eval --print"),
    takes=_set("-r -c --preload --require --import --config --cwd --env-file"),
    flags=_set("--silent --bun --smol --hot --watch"),
    runs=_set("run"),
    closed=_set("test x exec build install i add create c init repl link update pm"),
    permutes=False,
)
_FISH: Final = Family(
    code=_set("-c --command"),
    takes=_set("-C -o -d --init-command"),
    flags=_short("hilnNPv", "--no-config --private --login"),
    permutes=False,
)
_JAVA: Final = Family(
    code=_set("-jar -m -module"),
    takes=_set("-cp -classpath -class-path -p -module-path -source -add-modules -agentpath"),
    flags=_set("-server -ea -da -version"),
    permutes=False,
    code_ends=True,
    one_dash=True,
)
_SCRIPTED: Final = Family(code=_set("-e --eval"), permutes=False)
_FIRST_WORD: Final = Family(permutes=False)
"""Their first word is the program; of their options nothing is known."""
_SQLITE: Final = Family(
    takes=_set("-cmd -init -vfs -lookaside -mmap -maxsize -pagecache -escape"),
    plain=_set("-separator -newline -nullvalue"),
    flags=_set(
        "-ascii -bail -batch -box -column -csv -deserialize -echo -header -noheader -help -html -json -line"
        " -list -markdown -nofollow -quote -readonly -safe -stats -table -tabs -utf8 -version -zip"
    ),
    one_dash=True,
    is_fed=True,
)
_PSQL: Final = Family(
    takes=_set("-f -c -d -h -p -U -o -L -F -R -P -T --file --command --dbname --host --username --output"),
    named=_set("-v --set --variable"),
    flags=_short("AHXaeqtwxz01nsSbE", "--no-psqlrc --csv --quiet --tuples-only --no-align --no-password"),
    is_fed=True,
)
_MYSQL: Final = Family(
    takes=_set("-e -D -h -P -S -u --execute --database --host --port --socket --user --defaults-file --tee"),
    glued=_set("-p"),
    flags=_short("BNrstvHXEfqGA", "--batch --skip-column-names --raw --silent --table --no-auto-rehash"),
    is_fed=True,
)
_VIM: Final = Family(
    takes=_short("SsuUciTwWtq", "--cmd --startuptime"),
    flags=_short("eERbnNZmMoOpdfgyAHDCvxX", "-es -Es --clean --noplugin --not-a-term"),
    joins=False,
    plus=True,
    is_fed=True,
)
_EMACS: Final = Family(
    takes=_set("-l -f -x -u -L -t -d -load -funcall -eval -execute -script -user -directory -insert"),
    flags=_set("-batch -Q -q -nw -quick -no-init-file -no-site-file -no-site-lisp -no-window-system"),
    plus=True,
    one_dash=True,
    is_fed=True,
)
_ED: Final = Family(takes=_set("-p --prompt"), flags=_short("EGlqrsv"), is_fed=True)
_ALL: Final = Family(is_closed=True)


_ROWS: Final = (
    ("sh bash rbash dash ash zsh ksh ksh93 mksh lksh yash csh tcsh static-sh", _SHELL),
    ("python pypy", _PYTHON),
    ("perl", _PERL),
    ("ruby jruby", _RUBY),
    ("node nodejs", _NODE),
    ("php php-cgi", _PHP),
    ("lua luajit texlua", _LUA),
    ("awk mawk nawk gawk original-awk", _AWK),
    ("sed gsed", _SED),
    ("jq gojq jaq", _JQ),
    ("yq", _YQ),
    ("deno", _DENO),
    ("bun", _BUN),
    ("fish", _FISH),
    ("java", _JAVA),
    ("Rscript julia racket osascript groovy", _SCRIPTED),
    ("elixir guile tclsh wish escript nu pwsh phpdbg", _FIRST_WORD),
    ("sqlite sqlite3 sqlcipher duckdb", _SQLITE),
    ("psql", _PSQL),
    ("mysql mariadb", _MYSQL),
    ("vi vim nvim view nvi ex", _VIM),
    ("ed red", _ED),
    ("emacs emacsclient", _EMACS),
    ("m4 bc dc erl R octave gnuplot mongo mongosh jshell irb ipython", _ALL),
)
_FAMILIES: Final = {name: family for names, family in _ROWS for name in names.split()}
_TOOLS: Final = {
    "go": "run test generate tool",
    "cargo": "run r test t bench build b check c clippy doc install rustc",
    "npm": "exec x run run-script rum create init install i add ci start test t",
    "pnpm": "exec run dlx create install i add start test t",
    "yarn": "exec run dlx create install add start test",
    "pip": "install wheel download",
    "uv": "run tool pip sync add build x",
    "dotnet": "run exec test build msbuild script tool",
    "bundle": "exec install",
    "poetry": "run install",
    "conda": "run install",
}
"""Program -> first words behind which files of the workspace are run, or scripts of its packages are."""
_SUFFIX: Final = re.compile(r"[0-9.]*[dmtu]?(?:[-.].*)?")


def stem(name: str, known: Collection[str]) -> str:
    """Return of which known program a name is a version or a build, `python3.11-dbg`; empty for none."""
    found = (each for each in known if name.startswith(each) and _SUFFIX.fullmatch(name, len(each)))
    return max(found, key=len, default="")


def family_of(name: str) -> Family | None:
    """Return how the program of a name reads its words; None for one that interprets nothing."""
    if closed := _TOOLS.get(name.rstrip(".0123456789")):
        return Family(closed=_set(closed), permutes=False)
    return _FAMILIES.get(stem(name, _FAMILIES))
