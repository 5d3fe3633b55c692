"""No value of a declared command is program text, a script, a program, or what an option executes.

Each row is a declaration, as a file may write it: refused, or taken as its twin.
"""

from __future__ import annotations

import json
import shlex
from typing import Final

import pytest

from cli_tools.action import Catalogue, ToolProposal
from cli_tools.declared import declared_commands
from cli_tools.errors import UsageError
from policies.errors import PolicyFileError

TYPES: Final = {
    "text": "{type: pattern, pattern: '(?s).*'}",
    "raw": "{type: pattern, pattern: '(?s).*', literal: true}",
    "path": "{type: path, access: read}",
    "paths": "{type: path, access: read, many: true}",
    "some": "{type: path, access: read, many: true, required: false}",
    "choice": "{type: enum, values: [one, two words, -x]}",
    "count": "{type: integer, least: -5, most: 5}",
    "to": "{type: host}",
}
Words = list[str | dict[str, object]]


def declared(program: str, words: Words, kind: str) -> str:
    """Return a file with one command, which has a flag `loud` besides."""
    needs, sinks = ("[network, exec]", "{v: host}") if kind == "to" else ("[files, exec]", "{}")
    text = json.dumps(words)
    loud = ", loud: {type: flag}" if '"loud"' in text else ""
    return f"""version: 1
commands:
  - name: one
    summary: Print a value.
    program: {json.dumps(program)}
    needs: {needs}
    sinks: {sinks}
    arguments: {{v: {TYPES[kind]}{loud}}}
    argv: {text}
    examples: [{{line: one a, runs: false}}]
"""


def row(line: str) -> tuple[str, Words, str]:
    """Read a row: what an agent may write in `{v}`, a bar, the program and its words, parted by spaces.

    `~` stands for a space in a word, and `?word` for one that is written only with `--loud`.
    """
    kind, _, rest = line.strip().partition(" | ")
    program, *words = (word.replace("~", " ") for word in rest.split())
    return program, [_word(word) for word in words], kind


def _word(word: str) -> str | dict[str, object]:
    return {"with": "loud", "words": [word[1:]]} if word.startswith("?") else word


def rows(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


STARTS = rows("""
    text | env {v}
    path | env A={v} sort
    path | env -i sort {v}
    path | env A=b {v}
    path | env A=b timeout 5 {v}
    path | env A=b ?sort {v}
    path | env A=b ./tool {v}
    path | env A=b /workspace/tool {v}
    path | env A=b /usr/../workspace/tool {v}
    path | env A=b /usr/./../workspace/tool {v}
    path | env A=b //workspace/tool {v}
    path | env A=b bin/tool {v}
    text | /usr/bin/timeout 5 {v}
    text | xargs {v}
    text | ssh host ls~{v}
    path | sudo sort {v}
    text | busybox timeout 5 {v}
    path | /lib64/ld-linux-x86-64.so.2 {v}
    path | /lib/ld-musl-x86_64.so.1 {v}
    path | /lib/ld-linux.so.2 {v}
    path | run-parts {v}
    text | chronic {v}
    text | ifne {v}
    text | eatmydata {v}
    text | setarch x86_64 {v}
    text | linux32 {v}
    text | faketime x {v}
    text | proxychains4 {v}
    text | hyperfine {v}
    text | screen {v}
    text | tmux {v}
    text | ssh-agent {v}
""")
PROGRAM_TEXT = rows("""
    text | sh -c echo~{v}
    raw | sh -c echo~{v}
    to | sh -c {v}
    to | bash {v}
    text | /bin/bash -lc {v}
    path | sh {v}
    path | sh -e {v}
    text | sh -c -- {v}
    text | bash -c -o pipefail {v}
    text | bash -oe pipefail {v}
    path | bash -eo pipefail {v}
    path | bash -e -u {v}
    path | bash +e {v}
    path | bash -O extglob {v}
    path | bash --rcfile {v} /opt/x.sh
    path | bash --rcfile={v} /opt/x.sh
    path | bash -s {v}
    path | bash - {v}
    path | bash /dev/stdin {v}
    path | bash --unknown /opt/x.sh {v}
    path | bash ?/opt/x.sh {v}
    text | sh -c ?true {v}
    paths | bash -O {v} /opt/x.sh
    some | bash -O {v} /opt/x.sh
    path | bash-static {v}
    path | ksh93 {v}
    path | lksh {v}
    path | static-sh {v}
    path | fish -C x {v}
    text | busybox sh -c {v}
    text | env A=b sh -c {v}
    text | env A=b busybox sh -c {v}
    text | python3.11 -c {v}
    text | python3.11-dbg -c {v}
    text | python -W ignore -c {v}
    path | python3 -W ignore {v}
    path | python3 -X dev {v}
    path | python3 -E -s {v}
    path | python3 -Es {v}
    path | python3 -i {v}
    text | python -m {v}
    path | python3 -m runpy {v}
    path | python3 -m pdb {v}
    path | python3 -m unittest.main {v}
    text | python3 -m timeit {v}
    text | python3 -m timeit pass {v}
    path | python3 -- {v}
    text | perl -ne print~if~/{v}/
    text | perl5.36-x86_64-linux-gnu -e {v}
    path | perl -c -w {v}
    path | perl -I lib {v}
    path | perl -I {v} /opt/x.pl
    text | perl -e 1 -e {v}
    path | ruby -r json {v}
    text | ruby -0ne 1 -e {v}
    text | perl -CSe 1 -e {v}
    path | python3.13t {v}
    text | node --eval={v}
    path | node --require {v} x.js
    path | node -r /opt/h.js {v}
    path | node --import={v} /opt/x.js
    text | node -e 1 -e {v}
    path | node inspect {v}
    path | php-cgi {v}
    text | php -r {v}
    path | php -d {v} /opt/x.php
    path | lua -e x=1 {v}
    path | lua5.4 -l json {v}
    path | tclsh8.6 {v}
    text | awk {v} a.txt
    text | awk -F , {v}
    text | original-awk {v}
    text | awk -v {v} 1
    path | awk -f {v}
    path | gawk -f /opt/x.awk -f {v}
    path | gawk -i {v} 1
    text | sed -n {v} a.txt
    text | sed -E -n {v} f
    text | sed -r -i {v} f
    text | sed s/a/{v}/
    text | sed s/a/b/ -e {v}
    path | sed 1p -f {v}
    path | sed 1p --file={v}
    path | sed 1p --fil={v}
    path | sed 1p -nf {v}
    text | sed -ne {v} f
    text | sed -- {v} f
    text | jq {v}
    text | jq -r -n {v}
    path | jq -rf {v}
    path | jq . --from-file={v}
    path | jq -L {v} .
    text | yq eval {v}
    text | yq eval . --expression={v}
    path | deno run {v}
    path | deno run --allow-read {v}
    path | deno test /opt {v}
    path | bun run {v}
    path | bun test {v}
    path | java {v}
    path | java -jar {v}
    path | java -cp {v} Main
    path | /usr/lib/jvm/x/bin/java -Xmx1g {v}
    path | go run {v}
    path | go run /opt/x.go {v}
    path | go test {v}
    path | cargo run {v}
    path | pip3 install {v}
    path | Rscript {v}
    path | m4 /opt/x.m4 {v}
    text | pwsh -Command x {v}
    text | sqlite3 a.db {v}
    path | sqlite3 -init {v} x.db
    path | sqlite3 --init {v} x.db
    path | sqlite3 x.db -cmd {v}
    path | sqlite3 x.db -cmd=.read~{v}
    path | psql -f {v}
    path | psql --file={v}
    path | psql -Xf {v}
    text | psql -v {v}
    path | mysql -e source~{v}
    path | mysql --execute=source~{v}
    path | mysql --defaults-file={v}
    path | vim -S {v}
    path | vim -u {v} x
    path | vim -esS {v}
    path | vim -Nu {v} x
    path | vim.tiny +source~{v}
    path | emacs -batch -l {v}
    path | emacs --batch --load={v}
""")
EXECUTED = rows("""
    text | tar -xf a.tar --to-command={v}
    text | tar -xf a.tar --to-comm={v}
    text | tar -xf a.tar --to-command {v}
    text | tar -xf a.tar -I {v}
    text | tar -xI {v} -f a.tar
    text | tar xIf {v} a.tar
    text | tar xfI a.tar {v}
    text | tar --checkpoint-action={v} -xf a.tar
    text | tar --checkpoint-action=exec={v} -xf a.tar
    text | tar -xf a.tar --rsh-command ?-v {v}
    path | tar -cf a.tar -T {v}
    text | bsdtar -xf a.tar --use-compress-program {v}
    text | rsync -e {v} a b
    text | rsync -ave {v} a b
    text | rsync --rsh={v} a b
    text | rsync --rsync-path={v} a b
    text | sort --compress-program={v} a
    text | sort --compress-prog {v} a
    text | find . -exec {v} ;
    text | find . -execdir cat {v} +
    text | find . -ok sh -c {v} ;
    text | env A=b find . -exec {v} ;
    text | busybox find . -exec {v} ;
    text | git -c {v} log
    text | git -c alias.x={v} x
    text | git --exec-path={v} log
    text | git fetch --upload-pack={v} origin
    text | git log --format={v}
    text | tar {v} a.tar
    text | git submodule foreach {v}
    text | git bisect run {v}
    text | git rebase -x {v} main
    text | split --filter={v} a
    text | tcpdump -z {v}
    text | ncat -le {v}
    text | openssl req -engine {v}
    text | zip -T -TT {v} a.zip a
    text | man -P {v} ls
    path | curl -K {v}
    path | curl -sK {v}
    path | curl --config={v}
    text | scp -o {v} a b
    text | scp -oProxyCommand={v} a b
    text | scp -qoProxyCommand={v} a b
    text | wget -euse_askpass={v} a
    text | cmake -DA={v}
    text | tar -cf a.tar -IA={v}
    text | sftp -S {v} a
    text | rg --pre {v} x
    text | rg --pre={v} x
    text | fd x -x {v}
    path | make -f {v}
    path | gmake --makefile={v}
    text | make CC={v}
    text | make SHELL={v} all
    text | go vet -vettool={v}
    text | go build -toolexec {v}
    path | cmake -P {v}
    path | pandoc --lua-filter={v} a.md
    path | gcc -fplugin={v} a.c
""")
TAKEN = rows("""
    text | sort {v}
    text | sh -c sort~--~"$1" sh {v}
    text | sh -ec sort~--~"$1" sh {v}
    text | bash -eo pipefail -c true sh {v}
    text | sh /usr/share/x.sh {v}
    text | sh /usr/share/x.sh -e {v}
    text | bash /opt/x.sh --run={v}
    text | bash --unknown -- /opt/x.sh {v}
    text | bash /opt/x.sh ?--fast {v}
    paths | bash /opt/x.sh {v}
    raw | python3 -c pass {v}
    path | python3 -m json.tool {v}
    text | python3 -m tool --import={v}
    text | python3 /opt/tool.py --command={v}
    text | python3 -W ignore -Es /opt/tool.py {v}
    text | python3 -c pass -c {v}
    choice | sh -c {v}
    count | sh -c {v}
    text | perl -I/opt/lib -lne print {v}
    text | node /opt/cli.js --require={v}
    text | node --eval=1 {v}
    text | node -r /opt/h.js /opt/x.js {v}
    text | lua -e x=1 /opt/x.lua {v}
    path | ruby -rjson /opt/x.rb {v}
    text | awk -v x={v} BEGIN~{print~x}
    path | awk -F , 1 {v}
    path | awk -f/opt/x.awk {v}
    path | awk -f /opt/x.awk {v}
    path | sed -n 1p -- {v}
    path | sed --expression=1p {v}
    path | sed -i.bak -e 1d {v}
    path | sed 1p -n {v}
    path | jq .name -r {v}
    path | jq -rf /opt/x.jq {v}
    text | jq --arg name {v} .[$name]
    path | jq --slurpfile x {v} .
    path | yq eval .a {v}
    text | deno run --allow-read /opt/x.ts {v}
    path | deno fmt {v}
    text | java -Xmx1g -cp /opt/a.jar Main {v}
    text | java -jar /opt/a.jar {v}
    path | go vet {v}
    path | sqlite3 {v} select~1
    path | sqlite3 -readonly -separator , {v} select~1
    text | psql -v name={v} -f /q.sql
    path | vim -es {v}
    path | busybox sort {v}
    path | env LC_ALL=C sort -- {v}
    path | env LC_ALL=C TZ=UTC python3 /opt/x.py {v}
    path | env A=b /opt/x.d/tool..v2 {v}
    path | tar -tf {v}
    text | dc3dd {v}
    path | tar -xf {v} -C out
    path | tar xf {v}
    text | tar -xf a.tar --to-command=cat -- {v}
    path | rsync -e ssh -a -- {v} b
    text | find . -name {v}
    text | find . -exec cat {} ; -name {v}
    path | git log -p -- {v}
    path | git log -p {v}
    text | git commit -m {v}
    text | git --git-dir={v} log
    text | make {v}
    text | rg -z x {v}
    text | curl --output {v} https://a.example/
    path | gcc -o out {v}
    text | gcc -std={v} a.c
    text | scp -v a b={v}
""")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        *((line, "starts whatever program") for line in STARTS),
        *((line, "would be program text of") for line in PROGRAM_TEXT),
        *((line, "would decide what") for line in EXECUTED),
    ],
)
def test_a_file_in_which_a_value_could_become_program_text_or_a_program_is_refused(
    line: str, told: str
) -> None:
    with pytest.raises(PolicyFileError) as caught:
        declared_commands(declared(*row(line)), origin="x")

    found = [problem.message for problem in caught.value.problems]
    assert any(told in what for what in found), found


@pytest.mark.parametrize("line", TAKEN)
def test_a_file_in_which_a_value_stays_behind_the_program_text_is_taken(line: str) -> None:
    assert [made.name for _, made in declared_commands(declared(*row(line)), origin="x")] == ["one"]


NOT_BELIEVED = rows("""
    text | find -- {v}
    text | find -- {v} -delete
    text | ffmpeg -- {v}
    text | convert -- {v}
    text | dd -- {v}
    text | openssl -- {v}
    text | test -- {v}
    text | expr -- {v}
    text | sh -c sort~"$1" -- {v}
    text | python3 -c pass -- {v}
    text | bash -- /opt/x.sh {v}
    text | env A=b find -- {v}
    text | busybox sh -c true -- {v}
    text | grep -e -- {v}
    text | grep -ne -- {v}
    text | grep --regexp -- {v}
    text | grep -e ?--count -- {v}
    text | grep ?-- {v}
""")
BELIEVED = rows("""
    text | grep -- {v}
    text | grep --count=1 -- {v}
    text | grep x -- {v}
    text | env A=b sort -- {v}
    text | busybox sort -- {v}
    text | sed 1p -- {v}
    text | git log HEAD -- {v}
""")


@pytest.mark.parametrize("line", NOT_BELIEVED)
def test_two_dashes_that_may_end_no_options_let_no_value_begin_with_one(line: str) -> None:
    """`find -- -delete` deletes; `grep -e --` looks for two dashes, and an option may follow."""
    assert written(line, "-delete") is None
    assert written(line, "delete") is not None


@pytest.mark.parametrize("line", BELIEVED)
def test_two_dashes_that_end_the_options_let_a_value_begin_with_one(line: str) -> None:
    """The twin."""
    assert written(line, "-delete") == "-delete"


def written(line: str, value: str) -> str | None:
    """Return the word that a value becomes; None where it is refused."""
    ((_, made),) = declared_commands(declared(*row(line)), origin="x")
    try:
        action = Catalogue([made]).parse(ToolProposal(tool="one", arguments=json.dumps({"v": value})))
    except UsageError:
        return None
    return next(word for word in action.command.started(action.parameters) if value in word)


def fed(program: str, *words: str) -> str:
    """Return a file with one command that takes content on standard input."""
    return f"""version: 1
commands:
  - name: one
    summary: Take content.
    program: {json.dumps(program)}
    needs: [exec]
    sinks: {{}}
    stdin: {{}}
    argv: {json.dumps(words)}
    examples: [{{line: one, runs: false}}]
"""


@pytest.mark.parametrize(
    "line",
    [
        "sh", "bash", "/bin/dash", "sh -s", "sh -e", "bash --norc", "python3", "python3 -",
        "python3 -i /opt/x.py",
        "python3 /dev/stdin", "perl", "perl -w", "node", "node -", "ruby -W", "php", "lua -", "busybox sh",
        "env A=b sh", "awk -f /dev/stdin", "sqlite3 /opt/db", "ed /opt/x", "bash --unknown x",
        "awk -f/dev/stdin", "awk -f-", "awk -F: -f-", "sed -f-", "sed -nf-", "sed -nf/dev/fd/0", "sed p -f-",
        "sed --file=/dev/stdin", "sed --file=-", "jq --from-file=-", "jq . -f/proc/self/fd/0",
        "php -f/dev/stdin", "ruby -r/dev/stdin /opt/x.rb", "ruby -r /dev/stdin /opt/x.rb",
        "node --import=/dev/stdin /opt/x.js", "node --unknown=/dev/stdin /opt/x.js",
        "bash --init-file /dev/stdin -ic true", "bash --rcfile /dev/fd/0 -ic true",
        "java -javaagent:/dev/stdin -jar /opt/x.jar", "java @/dev/stdin Main",
        "python3 -m asyncio", "python3 -m pickle /dev/stdin", "python3 -m sqlite3",
        "gawk -i - 1", "gawk -i- 1", "gawk -ci - 1", "gawk --include - 1", "gawk --inc - 1",
        "gawk --include=- 1",
        "gawk -i /dev/stdin 1", "gawk -E -", "mawk -W exec -", "node --env-file /dev/stdin /opt/x.js",
        "php php://stdin", "php -d auto_prepend_file=php://stdin /opt/x.php", "php -f php://fd/0",
        "env BASH_ENV=/dev/stdin bash /opt/x.sh", "env NODE_OPTIONS=--require=/dev/stdin node /opt/x.js",
        "env LUA_INIT=@/dev/fd/0 lua /opt/x.lua", "env A=b BASH_ENV=/proc/self/fd/0 bash -c true",
        "php PHP://stdin", "php -f PHP://STDIN", "php php://filter/resource=php://stdin", "php -f Php://fd/0",
        "php compress.zlib://php://stdin", "php file:///dev/stdin", "deno run file:///dev/stdin",
        "bash /dev//stdin", "bash /dev/./stdin", "bash ../dev/stdin", "bash //dev/stdin",
        "sh /dev/../dev/stdin",
        "python3 /proc/thread-self/fd/0", "python3 /proc/self/task/7/fd/0", "sed -f/proc/thread-self/fd/0",
        "env BASH_ENV=/dev//stdin bash /opt/x.sh", "env BASH_ENV=/proc/thread-self/fd/0 bash -c true",
        "env NODE_OPTIONS='--require /dev/stdin --trace-warnings' node /opt/x.js",
        "env NODE_OPTIONS='--require \"/dev/stdin\"' node /opt/x.js",
    ],
)  # fmt: skip
def test_a_program_that_reads_its_text_from_standard_input_takes_no_content(line: str) -> None:
    """An agent that may not `run` would write the script."""
    program, *words = shlex.split(line)

    with pytest.raises(PolicyFileError) as caught:
        declared_commands(fed(program, *words), origin="one.yaml")

    assert "may read its program text from standard input" in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        "cat", "sort -n", "sh /opt/x.sh", "sh -c cat", "bash -- /opt/x.sh", "python3 -c pass",
        "python3 /opt/x.py",
        "python3 -m json.tool", "perl -ne print", "node /opt/x.js", "awk 1", "sed -n p", "jq .",
        "busybox sort", "env A=b sort", "awk -f /opt/x.awk",
        "awk -f/opt/x.awk", "awk 1 -", "awk 1 /dev/stdin", "awk -F - 1", "awk -v x=/dev/stdin 1",
        "perl -F- -lane print", "sed -f/opt/x.sed -", "sed -n p /dev/stdin", "jq . /dev/stdin",
        "jq --slurpfile x /dev/stdin .", "python3 /opt/x.py --file=/dev/stdin", "python3 /opt/x.py -f-",
        "sh /opt/x.sh /dev/stdin", "bash --init-file /opt/rc -ic true", "ruby -r/opt/y.rb /opt/x.rb",
        "python3 -m json.tool /dev/stdin",
        "gawk -i inplace 1", "gawk -i /opt/lib.awk -f /opt/x.awk -", "gawk -l time 1 -",
        "gawk --include=/opt/l 1",
        "env BASH_ENV=/opt/rc bash /opt/x.sh", "env INPUT=/dev/stdin sort", "php -d precision=3 /opt/x.php",
        "sh -c 'cat /dev/stdin'", "sh -c 'cat</dev/stdin'", "bash /dev/stdin.sh", "php /opt/stdin",
        "env NODE_OPTIONS='--trace-warnings --no-deprecation' node /opt/x.js",
    ],
)  # fmt: skip
def test_a_program_whose_text_is_written_out_takes_content(line: str) -> None:
    program, *words = shlex.split(line)

    assert declared_commands(fed(program, *words), origin="x")
