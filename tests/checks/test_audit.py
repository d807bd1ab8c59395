"""What is made of pip-audit's report: its JSON, the first as a package index without data answers."""

from scripts.checks.audit import judge, read

UNKNOWN = {"name": "uv", "skip_reason": "Dependency not found on PyPI and could not be audited: uv (0.9.4)"}
CLEAN = {"name": "flask", "version": "3.1.2", "vulns": []}
BAD = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [{"id": "PYSEC-2014-8", "fix_versions": ["2.7.3"], "aliases": ["CVE-2014-0012"], "description": "…"}],
}


def test_an_index_without_data_is_called_not_audited_and_fails_where_it_must_be_known() -> None:
    audit = read({"dependencies": [UNKNOWN], "fixes": []})
    passed, text = judge(audit, strict=False)
    assert passed
    assert text == "not audited: the package index has no vulnerability data (asked for uv)"
    assert not judge(audit, strict=True)[0]


def test_a_vulnerability_fails_and_names_the_release_that_mends_it() -> None:
    passed, text = judge(read({"dependencies": [CLEAN, BAD], "fixes": []}), strict=False)
    assert not passed
    assert text.splitlines() == ["jinja2 2.4.1: PYSEC-2014-8, mended in 2.7.3", "2 packages audited, 1 vulnerabilities"]


def test_a_package_that_could_not_be_looked_up_is_named_and_fails_only_when_strict() -> None:
    audit = read({"dependencies": [CLEAN, UNKNOWN], "fixes": []})
    assert judge(audit, strict=False) == (True, "1 packages audited, not audited: uv")
    assert not judge(audit, strict=True)[0]


def test_all_looked_up_and_clean_passes_also_when_strict() -> None:
    assert judge(read({"dependencies": [CLEAN], "fixes": []}), strict=True) == (
        True,
        "1 packages audited, 0 vulnerabilities",
    )
