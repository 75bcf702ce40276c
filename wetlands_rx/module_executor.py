"""The program that a worker process starts: find our files by their place, then serve.

Run as `python module_executor.py SOCKET_FD LIVENESS_FD PAGE_FD [ARENA_FD SIZE ARENA_FD SIZE MOST]`. The first lines
run on any Python, so that one which is too old says so. Nothing of ours is installed in the environment: the package
is loaded from where this file lies, and only its standard-library part is touched.
"""

# pyright: reportTypeCommentUsage=false
import sys

OLDEST = (3, 8)


def main(argv):
    # type: (list[str]) -> int
    """Load the worker's part of the package and serve.

    Args:
        argv: The numbers of inherited file descriptors: the socket, the liveness pipe, the page of memory, and the
            arenas, with what `serve` must know of them.
    Returns:
        The exit code.
    """
    if sys.version_info < OLDEST:
        sys.stderr.write(
            "a worker needs Python %d.%d or newer; this environment has %d.%d\n" % (OLDEST + sys.version_info[:2])
        )
        return 3
    load_package()
    from wetlands_rx._remote.loop import serve

    socket_fd, liveness_fd, page_fd = map(int, argv[:3])
    serve(socket_fd, liveness_fd, page_fd, [int(number) for number in argv[3:]])
    return 0


def load_package():
    # type: () -> None
    """Make `wetlands_rx` importable without putting its folder, or the folder above, on `sys.path`."""
    import importlib.util
    import os

    here = os.path.dirname(os.path.abspath(__file__))
    # Python puts a script's folder first on the path: there our logger.py or task.py would shadow the user's modules.
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]
    name = "wetlands_rx"
    spec = importlib.util.spec_from_file_location(
        name, os.path.join(here, "__init__.py"), submodule_search_locations=[here]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
