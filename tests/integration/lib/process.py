"""Child processes that are always ended: by their own pid, never by name."""
import signal
import subprocess

SANITIZER_MARKS = ("AddressSanitizer", "LeakSanitizer", "UndefinedBehaviorSanitizer", "ThreadSanitizer",
                   "runtime error:")


def sanitizer_faults(text):
    return [line for line in text.splitlines() if any(mark in line for mark in SANITIZER_MARKS)]


class Child:
    """A process with its output in files, in a session of its own: Ctrl-C at the terminal reaches only its owner."""

    def __init__(self, command, folder, name, cwd=None, env=None):
        self.name = name
        self.stdout_path = folder / f"{name}.out"
        self.stderr_path = folder / f"{name}.err"
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out,
                                            stderr=err, cwd=cwd, env=env, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    def runs(self):
        return self.process.poll() is None

    def stdout(self):
        return self.stdout_path.read_text(errors="replace")

    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def send(self, number):
        if self.runs():
            self.process.send_signal(number)

    def stop(self, number=signal.SIGTERM, deadline_s=60):
        """Sends the signal, waits, returns the exit status. What does not end by then is killed, and said so."""
        self.send(number)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"{self.name} (pid {self.pid}) did not end within {deadline_s} s of signal "
                                 f"{number}:\n{self.stderr()[-3000:]}") from None
