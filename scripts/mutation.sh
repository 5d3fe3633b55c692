#!/bin/sh
# Test the tests of the rule by mutation: scripts/mutation.sh [FOLDER] [PATTERN...], as in `policies.join*`.
# Works in a copy (by default build/mutation), with mutmut in an environment of its own; a second run goes on.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
folder=${1:-$root/build/mutation}
[ $# -eq 0 ] || shift

mkdir -p "$folder/work"
[ -x "$folder/venv/bin/mutmut" ] || {
    .venv/bin/python -m venv "$folder/venv"
    "$folder/venv/bin/pip" install --quiet "mutmut==3.8.1" pytest pytest-asyncio hypothesis pydantic \
        ruamel.yaml publicsuffixlist
}
cd "$folder/work"
rm -rf policies tests docs
mkdir -p tests/attacks docs
cp -r "$root/policies" .
cp -r "$root/tests/policies" tests/
cp "$root/tests/attacks/test_policy_loading.py" "$root/tests/attacks/test_policy_sinks.py" tests/attacks/
cp -r "$root/docs/policies" "$root/docs/policy-reference.md" docs/
find . -name __pycache__ -prune -exec rm -rf {} +
# The properties are tried less often here: each mutant runs them all.
sed -i 's/^settings.register_profile("unhurried",/&max_examples=20, derandomize=True,/' tests/policies/conftest.py
sed -i 's/max_examples=[0-9]*/max_examples=20/' tests/policies/test_*.py

# mutmut names tests on a command line, and some of these have names that no command line carries.
cat >plain_ids.py <<'EOF'
from _pytest.python import IdMaker

IdMaker.make_unique_parameterset_ids = lambda self: [f"c{index}" for index, _ in enumerate(self.parametersets)]
EOF
{
    cat <<'EOF'
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "plain_ids"]
markers = ["long: as in the checkout"]

[tool.mutmut]
source_paths = ["policies"]
only_mutate = ["policies/decide.py", "policies/origin.py", "policies/path_reasons.py", "policies/grant.py",
  "policies/lineage.py", "policies/join.py", "policies/egress.py", "policies/sinks.py", "policies/hosts.py",
  "policies/globs.py", "policies/commands.py", "policies/urls.py"]
also_copy = ["policies", "docs", "plain_ids.py"]
EOF
    printf 'pytest_add_cli_args_test_selection = ['
    for test in tests/policies/test_*.py tests/attacks/test_policy_*.py; do
        # What compares editors, schemas, pages and whole policies knows nothing that the others do not.
        case $test in
        *editor* | *schema* | *library* | *diff* | *containment* | *check* | *cli* | *long*) ;;
        *) printf '"%s", ' "$test" ;;
        esac
    done
    printf ']\n'
} >pyproject.toml
[ -d .git ] || git init --quiet .
PYTHONPATH=. nice "$folder/venv/bin/mutmut" run --max-children "${CHILDREN:-2}" "$@"
"$folder/venv/bin/mutmut" results
