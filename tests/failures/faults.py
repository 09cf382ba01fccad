"""Logs of twelve kinds of faults, as Airflow 2.11 and 3.3 write them: with what differs each time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count

from windsock.providers.task_logs import LoggedException, LogLine, StackFrame, TaskLog

AT = datetime(2026, 11, 23, 14, 32, 23, tzinfo=UTC)
DAGS = "/opt/airflow/dags"
NUMBERS = count(4_711, 37)
"""Ids, ports, process ids: another one each time."""

TROUBLESHOOTING = "For more information, see https://airflow.apache.org/docs/apache-airflow/stable/troubleshooting.html"


@dataclass(frozen=True)
class Frame:
    """A line of the user's code; `lineno` moves with each variant, as when the file is edited."""

    filename: str
    function: str
    lineno: int = 12


@dataclass(frozen=True)
class Raised:
    """`module`: Airflow 2 prints it before the class name."""

    type: str
    message: str
    frames: tuple[Frame, ...] = ()
    module: str = ""


def foreign(version: int) -> tuple[StackFrame, ...]:
    """What is between Airflow and the user's code."""
    packages = f"/opt/venv/v{version}/lib/python3.11/site-packages/airflow"
    below = (
        ("models/taskinstance.py", "operators/python.py") if version == 2 else ("sdk/execution_time/task_runner.py",)
    )
    return tuple(StackFrame(filename=f"{packages}/{name}", lineno=next(NUMBERS), function="execute") for name in below)


def exception(version: int, raised: Raised, *, is_cause: bool) -> LoggedException:
    name = f"{raised.module}.{raised.type}" if raised.module and version == 2 else raised.type
    own = (
        StackFrame(filename=frame.filename, lineno=frame.lineno + next(NUMBERS) % 7, function=frame.function)
        for frame in raised.frames
    )
    return LoggedException(type=name, message=raised.message, frames=(*foreign(version), *own), is_cause=is_cause)


def line(event: str, level: str = "info", exceptions: tuple[LoggedException, ...] = ()) -> LogLine:
    return LogLine(timestamp=AT, level=level, logger="task", event=event, exceptions=exceptions)


def failed(version: int, *raised: Raised, before: tuple[LogLine, ...] = ()) -> TaskLog:
    """A task that an exception ended, the outermost first. Airflow 2 writes it again when the process ends."""
    chain = tuple(exception(version, item, is_cause=place > 0) for place, item in enumerate(raised))
    number = next(NUMBERS)
    begin = line(f"Running <TaskInstance: pay.load manual__{number} [running]> on host worker-{number}")
    end = line("Task failed with exception", "error", chain)
    if version == 3:
        return log(line("::group::Pre Execute"), *before, end, line("::group::Post Execute"))
    again = line(f"Failed to execute job {number} for task load ({raised[0].message}; {number})", "error", chain)
    marked = line(f"Marking task as FAILED. dag_id=pay, task_id=load, run_id=manual__{number}")
    return log(begin, *before, end, marked, again, line("Task exited with return code 1"))


def log(*lines: LogLine) -> TaskLog:
    return TaskLog(lines=lines, has_more_before=False, is_finished=True)


Build = Callable[[int], TaskLog]


@dataclass(frozen=True)
class Fault:
    """`build` makes another log of the same fault with each call. `summary`: the summary names the cause with it."""

    kind: str
    task_id: str
    build: Build
    summary: str


def own(message: str, function: str = "load") -> Build:
    return lambda version: failed(version, Raised("PaymentError", message, (Frame(f"{DAGS}/pay.py", function),), "pay"))


def chained(version: int) -> TaskLog:
    cause = Raised("KeyError", f"'region-{next(NUMBERS)}'", (Frame(f"{DAGS}/lib/lookup.py", "find"),))
    return failed(version, Raised("LoadError", "cannot load", (Frame(f"{DAGS}/pay.py", "load"),), "pay"), cause)


def chained_other(version: int) -> TaskLog:
    cause = Raised("ValueError", f"bad amount {next(NUMBERS)}", (Frame(f"{DAGS}/lib/lookup.py", "parse"),))
    return failed(version, Raised("LoadError", "cannot load", (Frame(f"{DAGS}/pay.py", "load"),), "pay"), cause)


def sql(version: int) -> TaskLog:
    number = next(NUMBERS)
    detail = f'duplicate key value violates unique constraint "pk"\nDETAIL:  Key (id)=({number}) already exists.'
    frame = (Frame("/usr/lib/python3.11/site-packages/psycopg2/extras.py", "execute"),)
    return failed(
        version,
        Raised("IntegrityError", f"(psycopg2.errors.UniqueViolation) {detail}\n[({number},)]", frame, "sqlalchemy.exc"),
        Raised("UniqueViolation", detail, frame, "psycopg2.errors"),
    )  # fmt: skip


def sql_missing(version: int) -> TaskLog:
    message = f'relation "orders_{next(NUMBERS)}" does not exist\nLINE 1: TABLE orders'
    return failed(version, Raised("UndefinedTable", message, (), "psycopg2.errors"))


def http(status: str) -> Build:
    def build(version: int) -> TaskLog:
        url = f"https://api.example.com/v1/orders/{next(NUMBERS)}?page=3"
        return failed(
            version,
            Raised("HTTPError", f"{status} for url: {url}", (Frame(f"{DAGS}/pay.py", "fetch"),), "requests.exceptions"),
        )

    return build


def bash(*output: str, code: int = 1) -> Build:
    def build(version: int) -> TaskLog:
        number = next(NUMBERS)
        lines = (
            line(f"Tmp dir root location: airflowtmp{number:x}"),
            line("Running command: ['/usr/bin/bash', '-c', 'load.sh']"),
            line("Output:"),
            *(line(text.format(n=number)) for text in output),
            line(f"Command exited with return code {code}"),
        )
        words = f"Bash command failed. The command returned a non-zero exit code {code}."
        return failed(version, Raised("AirflowException", words, (), "airflow.exceptions"), before=lines)

    return build


def pod(version: int) -> TaskLog:
    number = next(NUMBERS)
    lines = (
        line(f"[base] 2026-11-{10 + number % 20} 06:00:01 spark.Driver starting executor {number}"),
        line(f"[base] java.lang.OutOfMemoryError: Java heap space at stage {number}"),
        line("[base] \tat org.apache.spark.Driver.run(Driver.java:77)"),
    )
    words = f"Pod load-{number:x}abc12 returned a failure.\nremote_pod: {{'uid': '{number}'}}"
    return failed(version, Raised("AirflowException", words, (), "airflow.exceptions"), before=lines)


def pod_exit(code: int) -> Callable[[int], TaskLog]:
    def build(version: int) -> TaskLog:
        name = f"load-{next(NUMBERS):x}-x7k2m"
        words = f"Pod {name} returned a failure.\nremote_pod: {name}, exit code {code}"
        return failed(version, Raised("AirflowException", words, (), "airflow.exceptions"))

    return build


def timeout(version: int) -> TaskLog:
    frames = (Frame(f"{DAGS}/pay.py", ("load", "wait", "poll")[next(NUMBERS) % 3]),)
    before = (line(f"Process timed out, PID: {next(NUMBERS)}", "error"),)
    raised = Raised("AirflowTaskTimeout", f"Timeout, PID: {next(NUMBERS)}", frames, "airflow.exceptions")
    return failed(version, raised, before=before)


def killed(version: int) -> TaskLog:
    if version == 3:
        words = "Process terminated by signal. Likely out of memory error (OOM). "
        return log(line("reading rows"), line(f"{words}{TROUBLESHOOTING}#process-terminated-by-signal.", "critical"))
    job = f"('Job %s was killed before it finished (likely due to running out of memory)', {next(NUMBERS)})"
    end = f"Task exited with return code -9. {TROUBLESHOOTING}#LocalTaskJob-killed"
    return log(line("reading rows"), line(job, "error"), line(end))


def crashed(version: int) -> TaskLog:
    words = "SIGSEGV (Segmentation Violation) signal indicates Segmentation Fault error which refers to"
    banner = line(
        "\n".join(["", "**** Received SIGSEGV ****", words, *["It is explained at length."] * 20]), "critical"
    )
    if version == 3:
        return log(line("reading rows"), banner)
    frames = (Frame(f"{DAGS}/pay.py", ("load", "crunch")[next(NUMBERS) % 2]),)
    raised = Raised("AirflowException", "Segmentation Fault detected.", frames, "airflow.exceptions")
    return failed(version, raised, before=(banner, line("Task exited with return code 139")))


def zombie(version: int) -> TaskLog:
    if version == 3:
        return log(line("::group::Pre Execute"), line("::endgroup::"), line(f"reading rows {next(NUMBERS)}"))
    words = "Task did not emit heartbeat within time limit (300 seconds) and will be terminated."
    return log(line(f"reading rows {next(NUMBERS)}"), line(words, "error"))


def stopped(version: int) -> TaskLog:
    if version == 3:
        words = "Server indicated the task shouldn't be running anymore. Terminating process"
        return log(line("reading rows"), line(words, "error"), line("Task killed!", "error"))
    raised = Raised("AirflowTaskTerminated", "Task received SIGTERM signal", (Frame(f"{DAGS}/pay.py", "load"),))
    words = "State of this instance has been externally set to failed. Terminating instance."
    signals = (line(words, "warning"), line("Received SIGTERM. Terminating subprocesses.", "error"))
    return failed(version, raised, before=signals)


def mapped(version: int) -> TaskLog:
    number = next(NUMBERS)
    raised = Raised("ValueError", f"chunk {number} of 9000 has no rows", (Frame(f"{DAGS}/pay.py", "crunch"),))
    return failed(version, raised, before=(line(f"map_index {number % 9}"),))


def import_error(version: int) -> TaskLog:
    raised = Raised("ModuleNotFoundError", "No module named 'pandsa'", (Frame(f"{DAGS}/pay.py", "<module>", 3),))
    broken = line(f"Failed to import: {DAGS}/pay.py", "error", (exception(version, raised, is_cause=False),))
    if version == 3:
        return log(
            broken,
            line("Dag not found during start up", "error"),
            line("Process exited abnormally exit_code=1", "warning"),
        )
    words = "Dag 'pay' could not be found; either it does not exist or it failed to parse."
    missing = exception(version, Raised("AirflowException", words, (), "airflow.exceptions"), is_cause=False)
    number = next(NUMBERS)
    again = line(f"Failed to execute job {number} for task load ({words}; {number})", "error", (missing,))
    return log(broken, again, line("Task exited with return code 1"))


def exit_code(code: int) -> Build:
    def build(version: int) -> TaskLog:
        words = f"Container exited with exit code {code}; job-{next(NUMBERS)} failed"
        return failed(version, Raised("AirflowException", words, (), "airflow.exceptions"))

    return build


FAULTS = (
    Fault("own exception", "load", own("no account"), "PaymentError: no account"),
    Fault("own exception of another function", "load", own("no account", "check"), "PaymentError"),
    Fault("own exception of another task", "send", own("no account"), "PaymentError"),
    Fault("chained", "load", chained, "LoadError: cannot load"),
    Fault("chained, another cause", "load", chained_other, "LoadError: cannot load"),
    Fault("SQL with ids", "load", sql, "UniqueViolation"),
    Fault("SQL, missing table", "load", sql_missing, "does not exist"),
    Fault("HTTP 503", "load", http("503 Server Error: Service Unavailable"), "HTTPError: 503"),
    Fault("HTTP 404", "load", http("404 Client Error: Not Found"), "HTTPError: 404"),
    Fault("bash", "sh", bash("read {n} rows", "ERROR: disk /data is full at row {n}"), "disk /data is full"),
    Fault("bash, missing file", "sh", bash("load.sh: line {n}: in.csv: No such file or directory"), "No such file"),
    Fault("bash without words", "sh", bash("read {n} rows", code=3), "exit code 3"),
    Fault("pod", "pod", pod, "OutOfMemoryError"),
    Fault("pod without output", "pod", pod_exit(137), "returned a failure"),
    Fault("pod without output, another", "pod", pod_exit(2), "returned a failure"),
    Fault("timeout", "load", timeout, "timeout"),
    Fault("killed", "load", killed, "SIGKILL"),
    Fault("crashed", "load", crashed, "segmentation fault"),
    Fault("zombie", "load", zombie, "lost"),
    Fault("stopped by a person", "load", stopped, "Stopped"),
    Fault("mapped", "crunch", mapped, "has no rows"),
    Fault("in a group", "prepare.load", own("no account"), "PaymentError"),
    Fault("import error", "load", import_error, "No module named 'pandsa'"),
    Fault("generic exit code", "job", exit_code(7), "exit code 7"),
    Fault("generic exit code, another", "job", exit_code(13), "exit code 13"),
)  # fmt: skip
"""The twelve kinds of the acceptance test, most of them with a neighbour that must stay apart."""
VERSIONS = (2, 3)
VARIANTS = 4


def every_failure() -> Iterator[tuple[Fault, int, TaskLog]]:
    for fault in FAULTS:
        for version in VERSIONS:
            for _ in range(VARIANTS):
                yield fault, version, fault.build(version)
