"""A disk of a few MiB of its own: a tmpfs in a mount namespace, seen from outside through /proc."""
import errno
import os
import subprocess
from pathlib import Path

from .wait import wait_until


class SmallDisk:
    """Lives as long as its holder process; programs started with `enter` see it at `inside`."""

    def __init__(self, folder, mib):
        self.inside = folder
        folder.mkdir(exist_ok=True)
        script = 'mount -t tmpfs -o size="$1"m,mode=0700 tmpfs "$0" && echo mounted && exec sleep infinity'
        self.holder = subprocess.Popen(["unshare", "-Urm", "sh", "-c", script, str(folder), str(mib)],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if self.holder.stdout.readline().strip() != "mounted":
            why = self.holder.stderr.read()
            self.holder.wait()
            raise OSError(errno.EPERM, f"no mount namespace here: {why}")
        self.outside = Path(f"/proc/{self.holder.pid}/root{folder}")
        self.enter = ["nsenter", f"--target={self.holder.pid}", "--user", "--mount", "--preserve-credentials", "--wd=/"]

    def close(self):
        self.holder.kill()
        self.holder.wait()

    def remount(self, mode):
        """`ro` or `rw`. Refused by the kernel while somebody has a file open for writing."""
        subprocess.run([*self.enter, "mount", "-o", f"remount,{mode}", "tmpfs", str(self.inside)], check=True,
                       capture_output=True)

    def free_bytes(self):
        disk = os.statvfs(self.outside)
        return disk.f_bavail * disk.f_frsize

    def fill(self):
        """Somebody else's file takes all that is left, to the last page."""
        with open(self.outside / "filler", "ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return self.free_bytes() == 0

    def clear(self):
        (self.outside / "filler").unlink()
        wait_until(lambda: self.free_bytes() > 0, 5, "the filler's pages are free")
