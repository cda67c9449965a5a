"""What several tests of the registry need: direct changes of its file, processes, threads."""

import sqlite3
import subprocess
import sys
import textwrap
import threading

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

from support.paths import ROOT

SLOW = hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def meddle(storage, sql, values=()):
    """Changes the file behind the registry's back."""
    db = sqlite3.connect(storage.database)
    db.execute(sql, values)
    db.commit()
    db.close()


def child(code: str, storage, *arguments: str) -> subprocess.Popen:
    head = """
        import sys
        sys.modules["pandas"] = sys.modules["numpy"] = None  # for speed: sqlite-utils wants them
        from pathlib import Path
        from rotelab.registry import Metric, Registry
        from rotelab.storage import Storage
        storage = Storage(Path(sys.argv[1]))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(code),
         str(storage.home), *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def in_threads(count: int, work) -> list:
    """Runs work(i) in threads that begin together; gives results and errors in order."""
    together, results = threading.Barrier(count), [None] * count

    def one(i):
        together.wait()
        try:
            results[i] = work(i)
        except Exception as error:
            results[i] = error

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results
