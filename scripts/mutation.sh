#!/bin/sh
# Test the tests of the rule by mutation: scripts/mutation.sh [FOLDER] [--only join,decide] [--again] [--alone].
# Works in a copy (by default build/mutation), with mutmut in an environment of its own. A second run goes on:
# remove FOLDER/work to begin anew. `--again` tries what survived, with as many `--seconds` of tests as are given.
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
rm -rf policies tests docs mutants.json
mkdir -p tests/attacks docs
cp -r "$root/policies" .
cp -r "$root/tests/policies" tests/
cp "$root/tests/attacks/test_policy_loading.py" "$root/tests/attacks/test_policy_sinks.py" tests/attacks/
cp -r "$root/docs/policies" "$root/docs/policy-reference.md" docs/
find . -name __pycache__ -prune -exec rm -rf {} +
# The properties are tried less often here: each mutant runs them all.
sed -i 's/^settings.register_profile("unhurried",/&max_examples=20, derandomize=True, database=None,/' tests/policies/conftest.py
# A failure is enough: it is not made smaller.
sed -i 's/derandomize=True,/& phases=[Phase.explicit, Phase.generate],/; s/import HealthCheck,/& Phase,/' tests/policies/conftest.py
sed -i 's/max_examples=[0-9]*/max_examples=20/' tests/policies/test_*.py

cp "$root/tests/mutations/policies.py" ../mutants.py
cat >pyproject.toml <<'EOF'
[tool.pytest.ini_options]
addopts = ["--import-mode=importlib", "-p", "no:cacheprovider"]
markers = ["long: as in the checkout"]

[tool.mutmut]
source_paths = ["policies"]
EOF
for test in tests/policies/test_*.py tests/attacks/test_policy_*.py; do
    # What compares editors, schemas, pages and whole policies knows nothing that the others do not.
    case $test in
    *editor* | *schema* | *library* | *diff* | *containment* | *check* | *explain* | *governs* | *purity*) ;;
    *) set -- "$@" "$test" ;;
    esac
done
PYTHONPATH=. nice ../venv/bin/python ../mutants.py --children "${CHILDREN:-2}" "$@"
