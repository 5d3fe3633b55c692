"""Values that injection suites try, made of their parts: what programs, shells and parsers read more into."""

from __future__ import annotations

from itertools import product
from typing import Final

_OPTIONS: Final = (
    "-", "--", "---", "-x", "-rf", "-oProxyCommand=id", "--output=x", "--output", "-o/tmp/x", "-exec", "-e",
    "-c", "-cid", "-C/", "--upload-pack=id", "--checkpoint-action=exec=sh id", "--to-command=id", "-I{}",
    "--use-compress-program=id", "--rsh=id", "--config=core.pager=id", "--files0-from=x", "--pre=id", "-K@x",
    "--no-preserve-root", "-1", "-0", "-\t", "- x", "-@x", "--=x",
)  # fmt: skip
_OTHER_STARTS: Final = (
    "@", "+", "~", "!", "%", "=", ":", "#", ",", ".", "|", "<", ">", "&", ";", "^", "\\", "/",
)  # fmt: skip
_CORES: Final = (
    "x", "x y", "etc/passwd", "../x", "id",
)  # fmt: skip
_SHELL: Final = (
    "; id", "x;id", "x; id #", "&& id", "x&&id", "|| id", "| id", "id|", "x|id", "& id", "x &", "> x", ">>x",
    "2>&1", "< x", "<<<x", "<(id)", ">(id)", "$(id)", "x$(id)y", "`id`", "${IFS}id", "$IFS", "$HOME", "$@",
    "$*", "$1", "${x:-y}", "$((1))", "$'x'", "'", '"', "''", '""', "';id;'", '";id;"', "'x'", '"x"', "x' 'y",
    "\\", "\\x", "x\\", "\\n", "\\\\", "(id)", "{ id; }", "!!", "!x", "x!y", "#x", "x #y", "%s", "%n%n",
    "%PATH%", "%2d%2dx", "^x^y", "[ -f x ]", "[[ x ]]", "time id", "exec id", "eval id",
)  # fmt: skip
_WILDCARDS: Final = (
    "*", "a*", "*a", "?", "a?", "[a]", "[!a]", "[a-z]*", "{a,b}", "{1..9}", "**", "**/x", "~", "~root", "~+",
    "~x/y", ".*", "*.*", "a[", "a]",
)  # fmt: skip
_ASSIGNMENTS: Final = (
    "CC=id", "SHELL=/x", "LD_PRELOAD=./x", "of=x", "if=x", "A=b c", "x+=y", "x:=y", "x::=y", "x=", "=x",
    "x==y", "PATH=.:/x", "GIT_SSH_COMMAND=id", "name=value", "FS=x",
)  # fmt: skip
_PLACES: Final = (
    "file:///etc/passwd", "file:/etc/passwd", "FILE:///x", "ext::sh -c id", "ext::id", "fd::3", "host:x",
    "a:b", "host::mod/x", "user@host:x", "ssh://-oProxyCommand=id/x", "rsync://h/x", "http://e/",
    "https://e/", "gopher://e/", "dict://e:1/", "data:,x", "jar:file:x", "php://input", "javascript:x",
    "C:\\x", "\\\\h\\x", "phar://x", "pipe:1", "fd:0", "msl:x", "https:x",
)  # fmt: skip
_PARTED: Final = (
    "a,b", "a,-x", "a,--plugin=x", "a;b", "a:b", "a b", "a -x", "a --x=y", "a/b", "a/../b", "b/e,s/x",
)  # fmt: skip
_PATHS: Final = (
    "/etc/passwd", "/proc/self/environ", "/proc/self/fd/0", "/dev/stdin", "/dev/fd/0", "/dev/tcp/h/1", "//x",
    "../x", "../../x", "a/../../x", "..", ".", "./-x", "./x", "a//b", "a/./b", "/workspace/x",
    "/workspace/../x", "/workspacex", "-/x", "a/-x", ".git/config", "a/..", "~/x",
)  # fmt: skip
_UNSEEN: Final = (
    "", " ", "  ", "\t", "\n", "\r", "\r\n", "a\nb", "a\n-x", "a\r-x", "\n--x", "a\x00b", "\x00", "\x00-x",
    "\x01", "\x07", "\x08-x", "\x1b[2J", "\x1b]0;x\x07", "\x7f", "\x80", "\x85", "\x9b31m", "\ud800",
    "\udcff", "\udc80-x", "\u2028", "\u2029-x", "\u202ex", "\u200bx", "\ufeffx", "\u2010x", "\u2013x",
    "\u2014x", "\u2212x", "\ufe63x", "\uff0dx", "\uff0d\uff0dx", "\uff20x", "\uff04(id)", "\uff1bid",
    "\u037eid", "\xa0-x", "\u3000-x", "\u0301x", "\U000e002dx", "\U0001f600", "\u0660", "\uff11",
)  # fmt: skip
_NUMBERS: Final = (
    "0", "5", "+5", "-5", "05", "0x5", "5.0", "5e0", "1_0", " 5", "5 ", "5\n", "\u0665", "NaN", "inf",
    "9" * 40,
)  # fmt: skip
_HOSTS: Final = (
    "a.example", "A.Example.", "-a.example", "a.example:80", "a.example/x", "u@a.example", "a.example@e",
    "[::1]", "::1", "127.1", "0x7f.1", "2130706433", "a..b", "a_b", "a.example\x00.e", "a.example ",
    "a%2eexample", "\u24d0.example", "a.example#e", "a.example\\e", "*.example", "xn--a", "a" * 300,
)  # fmt: skip
_WORDS: Final = (
    "one", "plain", "a.txt", "two words", "caf\xe9", "One", "on", "one ", "oneone", "one,two", "null",
)  # fmt: skip
LONG: Final = ("x" * 4096, "x" * 4097, "-" * 300, "a " * 600)
_LED: Final = tuple(start + core for start, core in product(_OTHER_STARTS, _CORES))
_ALL: Final = (
    _OPTIONS, _LED, _SHELL, _WILDCARDS, _ASSIGNMENTS, _PLACES, _PARTED, _PATHS, _UNSEEN, _NUMBERS, _HOSTS,
    _WORDS, LONG,
)  # fmt: skip
VALUES: Final = tuple(dict.fromkeys(value for values in _ALL for value in values))
"""Some four hundred, each once."""
