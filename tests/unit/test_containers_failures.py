"""What uv really said, in full sentences of its own, and whose fault that is."""

from __future__ import annotations

import pytest

from containers.engine import Execution, ending_signal
from containers.failures import InstallFault, InstallStage, classified, explanation, from_build, from_execution
from monitor.judge.faults import BLAME

NO_SOLUTION = "error: No solution found when resolving dependencies\n  cause: "
CASES = [
    (
        NO_SOLUTION + "Because there is no version of transformers==9.9.9 and you require transformers==9.9.9, we can "
        "conclude that your requirements are unsatisfiable.",
        InstallFault.UNRESOLVABLE,
        True,
    ),
    (
        NO_SOLUTION + "Because there is no version of transformers==5.5.0 and you require transformers==5.5.0, we can\n"
        "conclude that your requirements are unsatisfiable.\n\nhint: `transformers` was filtered by `exclude-newer` to "
        "only include packages uploaded before 2025-03-15T23:59:59Z. The requested "
        "version, v5.5.0, was published at 2026-04-01T15:12:42.313Z. Consider using `exclude-newer-package`",
        InstallFault.UNRESOLVABLE,
        False,  # that version was not asked for here
    ),
    (
        NO_SOLUTION + "Because there is no version of transformers==9.9.9 and you require transformers==9.9.9, we can\n"
        "conclude that your requirements are unsatisfiable.\n\nhint: `transformers` was filtered by `exclude-newer` to "
        "only include packages uploaded before 2025-03-15T23:59:59Z. The requested version, v9.9.9, was published at "
        "2026-04-01T15:12:42.313Z. Consider using `exclude-newer-package` to override the cutoff for this package.",
        InstallFault.UNRESOLVABLE,
        True,  # not there yet on that day
    ),
    (
        NO_SOLUTION + "Because there is no version of transformers==9.9.9 and you require transformers==9.9.9, we can\n"
        "conclude that your requirements are unsatisfiable.\n\nhint: `transformers` was filtered by `exclude-newer` to "
        "only include packages uploaded before 2025-03-15T23:59:59Z. Consider using `exclude-newer-package`",
        InstallFault.INDEX,  # it tells no upload times
        False,
    ),
    (
        NO_SOLUTION + "Because there are no versions of requests and transformers==9.9.9 depends on requests, we can\n"
        "conclude that your requirements are unsatisfiable.\n\nhint: `requests` was filtered by `exclude-newer` to "
        "only include packages uploaded before 2025-01-01T00:00:00Z. The latest version satisfying the requirement is "
        "v2.34.2. Consider using `exclude-newer-package` to override the cutoff for this package.",
        InstallFault.INDEX,
        False,
    ),
    (
        NO_SOLUTION + "Because there are no versions of hf-xet and transformers==9.9.9 depends on hf-xet, we can "
        "conclude\n\nhint: `hf-xet` was filtered by `exclude-newer` to only include packages uploaded before "
        "2025-01-01T00:00:00Z. The latest version satisfying the requirement is v1.8.0, published at "
        "2026-10-30T10:04:03Z. Consider",
        InstallFault.UNRESOLVABLE,  # so it was on that day
        False,
    ),
    (
        NO_SOLUTION + "Because transformers==4.49.0 depends on tokenizers>=0.21,<0.22 and you require "
        "transformers==4.49.0, we can conclude that you require tokenizers>=0.21,<0.22.",
        InstallFault.UNRESOLVABLE,
        False,
    ),
    (
        (
            "  \u00d7 No solution found when resolving dependencies:\n  \u2570\u2500\u25b6 Because there is no\n"
            "      version of transformers==9.9.9 and you require transformers==9.9.9, we can conclude"
        ),
        InstallFault.UNRESOLVABLE,
        True,
    ),
    (
        NO_SOLUTION + "Because transformers was not found in the package registry and you require transformers, we can "
        "conclude that your requirements are unsatisfiable.",
        InstallFault.INDEX,
        False,
    ),
    (
        NO_SOLUTION + "Because hf-xet was not found in the package registry and transformers==9.9.9 depends on "
        "hf-xet>=1.1, we can conclude that transformers==9.9.9 cannot be used.",
        InstallFault.INDEX,  # a mirror that lacks a package
        False,
    ),
    (
        NO_SOLUTION + "Because llama-cpp-python==0.3.16 has no usable wheels and you require llama-cpp-python==0.3.16, "
        "we can conclude that your requirements are unsatisfiable.",
        InstallFault.NO_WHEEL,
        False,
    ),
    (
        NO_SOLUTION + "Because all versions of llama-cpp-python have no usable wheels and you require llama-cpp-python",
        InstallFault.NO_WHEEL,
        False,
    ),
    (
        (
            "error: Request failed after 3 retries in 5.5s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/six/\n"
            "  cause: client error (Connect)\n  cause: tcp connect error\n  cause: Connection refused (os error 111)"
        ),
        InstallFault.NETWORK,
        False,
    ),
    (
        (
            "error: Request failed after 3 retries in 7.2s\n  cause: client error (Connect)\n  cause: dns error\n"
            "  cause: failed to lookup address information: Name or service not known"
        ),
        InstallFault.NETWORK,
        False,
    ),
    (
        "error: Request failed after 3 retries in 6.9s\n  cause: HTTP status server error (500 Internal Server Error)",
        InstallFault.INDEX,
        False,
    ),
    (
        "error: Failed to download `six==1.17.0`\n  cause: HTTP status client error (404 Not Found) for url",
        InstallFault.INDEX,
        False,
    ),
    (
        (
            "error: Failed to download `six==1.17.0`\n  cause: Failed to write to the distribution cache\n  cause: "
            "error decoding response body\n  cause: end of file before message length reached"
        ),
        InstallFault.INDEX,
        False,
    ),
    ("error: Failed to download `six==1.17.0`\n  cause: Hash mismatch for `six==1.17.0`", InstallFault.INDEX, False),
    (
        (
            "error: Failed to download `numpy==2.4.6`\n  cause: Failed to extract archive: numpy.whl\n  cause: "
            "failed to write to file `/small/c/x.so`: No space left on device (os error 28)"
        ),
        InstallFault.DISK,
        False,
    ),
    ("memory allocation of 1073741824 bytes failed", InstallFault.MEMORY, False),
    ("error: Couldn't parse requirement in `-` at position 0", InstallFault.RECIPE, False),
    ("", InstallFault.RECIPE, False),
]


@pytest.mark.parametrize(("text", "slug", "no_such_version"), CASES)
def test_the_words_of_uv_are_understood(text: str, slug: InstallFault, no_such_version: bool) -> None:
    assert classified(text, requirements=["transformers==9.9.9", "torch"]) == (slug, no_such_version)


def test_every_fault_has_a_blame_and_few_are_not_ours() -> None:
    blames = {fault: BLAME[fault.value] for fault in InstallFault}
    assert {fault for fault, blame in blames.items() if blame != "infra"} == {
        InstallFault.UNRESOLVABLE,
        InstallFault.INCONSISTENT,
        InstallFault.NOT_BUILT,
        InstallFault.RUNTIME_NOT_BUILT,
    }


def said(text: str) -> Execution:
    return Execution(1, None, False, False, 7.0, None, text.encode())


def test_the_resolver_names_what_has_only_sources() -> None:
    hint = (
        "\n\nhint: Wheels are required for `{}` because building from source is disabled for all packages\n(i.e., with"
        " `--no-build`)"
    )
    text = (
        NO_SOLUTION + "Because docopt==0.6.2 has no usable wheels" + hint.format("docopt") + hint.format("ruamel.base")
    )
    failure = from_execution(said(text), InstallStage.RESOLVE)
    assert (failure.slug, failure.sources) == (InstallFault.NO_WHEEL, ("docopt", "ruamel.base"))


BACKEND = (
    "error: Failed to build `spec==1.0`\n  cause: The build backend returned an error\n  cause: Call to "
    "`setuptools.build_meta.build_wheel` failed (exit status: 1)\n\n         [stderr]\n         "
)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        (BACKEND + "boom", InstallFault.NOT_BUILT),
        (
            BACKEND + "FileNotFoundError: [Errno 2] No such file or directory: 'requirements.txt'",
            InstallFault.NOT_BUILT,
        ),
        (BACKEND + "ModuleNotFoundError: No module named 'pkg_resources'", InstallFault.NOT_BUILT),
        (BACKEND + "TypeError: canonicalize_version() got an unexpected keyword argument", InstallFault.NOT_BUILT),
        (BACKEND + "error: command 'gcc' failed: No such file or directory", InstallFault.RECIPE),
        (BACKEND + "error: command 'x86_64-linux-gnu-gcc' failed: No such file or directory", InstallFault.RECIPE),
        (BACKEND + "error: [Errno 2] No such file or directory: 'cmake'", InstallFault.RECIPE),
        (BACKEND + "FileNotFoundError: [Errno 2] No such file or directory: '/usr/bin/git'", InstallFault.RECIPE),
        (BACKEND + "unable to execute 'c++': No such file or directory", InstallFault.RECIPE),
        (BACKEND + "error: can't find Rust compiler", InstallFault.RECIPE),
        (BACKEND + "/bin/sh: 1: cmake: not found", InstallFault.RECIPE),
        (BACKEND + "spec.c:1:10: fatal error: Python.h: No such file or directory", InstallFault.RECIPE),
        (BACKEND + "No CMAKE_CXX_COMPILER could be found.", InstallFault.RECIPE),
        (BACKEND + "OSError: CUDA_HOME environment variable is not set.", InstallFault.RECIPE),
        (BACKEND + "fatal: unable to access 'https://h/x.git/': Could not resolve host: h", InstallFault.NETWORK),
        (BACKEND + "<urlopen error [Errno -3] Temporary failure in name resolution>", InstallFault.NETWORK),
        (BACKEND + "requests.exceptions.SSLError: HTTPSConnectionPool(host='h', port=443)", InstallFault.NETWORK),
        (BACKEND + "OSError: [Errno 28] No space left on device", InstallFault.DISK),
        ("error: Failed to fetch: `https://index/simple/setuptools/`\n  cause: dns error", InstallFault.NETWORK),
        ("sh: 1: /opt/uv: Permission denied", InstallFault.RECIPE),
    ],
)
def test_a_build_that_fails_is_the_packages_doing_unless_the_machine_lacks_something(
    text: str, slug: InstallFault
) -> None:
    assert from_build(said(text)).slug is slug


@pytest.mark.parametrize(
    ("timed_out", "out_of_memory", "fault", "slug", "words"),
    [
        (True, False, "", InstallFault.TIME, "not done after 7 s"),
        (False, True, "", InstallFault.MEMORY, "memory"),
        (True, True, "docker: gone", InstallFault.ENGINE, "docker: gone"),
        (False, False, "", InstallFault.NETWORK, "Connection refused"),
    ],
)
def test_how_it_ended_counts_before_what_it_said(
    timed_out: bool, out_of_memory: bool, fault: str, slug: InstallFault, words: str
) -> None:
    said = b"Using Python 3.11\nerror: tcp connect error https://me:pw@host/\n  cause: Connection refused"
    execution = Execution(1, None, out_of_memory, timed_out, 7.0, None, said, engine_fault=fault)

    failure = from_execution(execution, InstallStage.RESOLVE)

    assert failure.slug is slug
    assert words in failure.message
    assert b"pw" not in failure.log
    assert "pw" not in failure.message


def test_the_explanation_is_the_error_and_not_the_talk_before_it() -> None:
    text = "Using Python 3.11.2 environment at: v\nResolved 1 package\nerror: Failed\n  cause: because\n\nhint: try"
    assert explanation(text) == "Failed because hint: try"
    assert explanation("a\nb") == "a b"
    assert explanation("") == "no output"


def test_exit_codes_of_a_shell_are_decoded() -> None:
    assert [ending_signal(code) for code in (0, 1, 127, 128, 137, 139, 255)] == [None, None, None, None, 9, 11, None]
