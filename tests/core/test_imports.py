"""What is imported for good is kept out of the search for garbage; what is made after that is not."""

import subprocess
import sys


def said(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_what_is_imported_is_not_searched_for_garbage_and_what_comes_after_is() -> None:
    assert (
        said("""
import gc, weakref
from cordee.core.imports import kept

class Node: pass

with kept():
    assert not gc.isenabled()
    import email.message
frozen = gc.get_freeze_count()
node = Node()
node.itself, ended = node, weakref.ref(node)
del node
gc.collect()
print(gc.isenabled(), frozen > 1000, ended() is None)
""")
        == "True True True"
    )


def test_who_has_switched_the_search_off_finds_it_off_also_where_the_import_fails() -> None:
    assert (
        said("""
import gc
from cordee.core.imports import kept

gc.disable()
try:
    with kept():
        import there_is_no_such_module
except ModuleNotFoundError:
    print(gc.isenabled())
""")
        == "False"
    )
