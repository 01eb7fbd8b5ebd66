#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char folder[64]; // also the working directory

// Takes the C library's place in this program: write(2) may be interrupted and may write less.
static size_t write_most = SIZE_MAX;
static bool interrupt_next;

ssize_t write(int fd, const void *bytes, size_t length)
{
    bool interrupt = interrupt_next;
    interrupt_next = !interrupt && write_most != SIZE_MAX;
    if (interrupt) {
        errno = EINTR;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, length < write_most ? length : write_most);
}

static int set_up(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/test_base_file.XXXXXX");
    return mkdtemp(folder) != NULL && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    DIR *entries = opendir(folder);
    for (struct dirent *entry; entries != NULL && (entry = readdir(entries)) != NULL;)
        (void)remove(entry->d_name);
    (void)closedir(entries);
    return chdir("/") == 0 && rmdir(folder) == 0 ? 0 : -1;
}

static bool exists(const char *path)
{
    struct stat status;
    return lstat(path, &status) == 0;
}

static void check_content(const char *path, const char *bytes, size_t length)
{
    struct buf content;
    struct err err;
    buf_init(&content, length);
    buf_add_text(&content, length > 0 ? "o" : ""); // what was there goes
    assert_int_equal(file_read(path, &content, &err), 0);
    assert_int_equal(content.length, length);
    assert_memory_equal(content.data, bytes, length + 1); // and the NUL
    assert_int_equal(content.max, length);
    buf_release(&content);
}

static void test_round_trip(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    static char bytes[SIZE + 1];
    for (int i = 0; i < SIZE; i++)
        bytes[i] = (char)(i * 7 + i / 256);
    const size_t sizes[] = {0, 1, 16383, 16384, 16385, SIZE};
    char path[128];
    (void)snprintf(path, sizeof path, "%s/absolute", folder);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        char kept = bytes[sizes[i]];
        bytes[sizes[i]] = '\0';
        struct err err;
        assert_int_equal(file_write(path, bytes, sizes[i], 0640, &err), 0);
        assert_int_equal(file_write("relative", bytes, sizes[i], 0600, NULL), 0);
        check_content(path, bytes, sizes[i]);
        check_content("relative", bytes, sizes[i]);
        bytes[sizes[i]] = kept;
    }
    assert_false(exists("absolute.tmp") || exists("relative.tmp"));
}

static void test_short_writes(void **state)
{
    (void)state;
    static const char text[] = "not all of this goes out in the first write";
    write_most = 5;
    int result = file_write("pieces", text, sizeof text - 1, 0600, NULL);
    write_most = SIZE_MAX;
    interrupt_next = false;
    assert_int_equal(result, 0);
    check_content("pieces", text, sizeof text - 1);
}

static void test_mode(void **state)
{
    (void)state;
    const mode_t modes[] = {0644, 0600, 0666, 0400, 0640};
    mode_t old = umask(027);
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        struct stat status;
        assert_int_equal(file_write("mode", "x", 1, modes[i], NULL), 0);
        assert_int_equal(stat("mode", &status), 0);
        assert_int_equal(status.st_mode & 07777, modes[i]);
    }
    (void)umask(old);
}

static void check_read_fails(const char *path, size_t max, const char *reason)
{
    struct buf content;
    struct err err = {""};
    buf_init(&content, max);
    buf_add_text(&content, "old");
    assert_int_equal(file_read(path, &content, &err), -1);
    assert_string_equal(content.data, "old");
    assert_false(content.failed);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, reason));
    buf_release(&content);
}

static void test_read_failures(void **state)
{
    (void)state;
    assert_int_equal(file_write("twenty", "12345678901234567890", 20, 0600, NULL), 0);
    check_content("twenty", "12345678901234567890", 20);
    check_read_fails("twenty", 19, "19 bytes");
    check_read_fails("/dev/zero", 100000, "100000 bytes");
    check_read_fails("absent", 100, "No such file");
    check_read_fails(folder, 100, "directory");
}

static void test_read_stdin(void **state)
{
    (void)state;
    int ends[2];
    int saved = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    (void)close(ends[1]);
    (void)dup2(ends[0], STDIN_FILENO);
    (void)close(ends[0]);
    check_content("-", "piped", 5);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0); // not ours to close
    if (saved >= 0) {
        (void)dup2(saved, STDIN_FILENO);
        (void)close(saved);
    }
}

// The old file stays and no temporary one, however the write fails.
static void test_disk_full(void **state)
{
    (void)state;
    static char large[20000];
    assert_int_equal(file_write("kept", "old", 3, 0600, NULL), 0);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    struct rlimit small = {.rlim_cur = 5000, .rlim_max = old.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0); // a short write, then EFBIG
    struct err err = {""};
    int result = file_write("kept", large, sizeof large, 0600, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(result, -1);
    assert_non_null(strstr(err.text, "kept"));
    assert_non_null(strstr(err.text, "large"));
    check_content("kept", "old", 3);
    assert_false(exists("kept.tmp"));
}

static void test_write_failures(void **state)
{
    (void)state;
    struct err err = {""};
    assert_int_equal(file_write("no-folder/file", "x", 1, 0600, &err), -1);
    assert_non_null(strstr(err.text, "no-folder/file"));

    assert_int_equal(mkdir("taken", 0700), 0);
    assert_int_equal(file_write("taken", "x", 1, 0600, &err), -1); // the rename fails
    assert_false(exists("taken.tmp"));

    // A link that somebody put in place of the temporary file is not followed.
    assert_int_equal(file_write("victim", "old", 3, 0600, NULL), 0);
    assert_int_equal(symlink("victim", "trap.tmp"), 0);
    assert_int_equal(file_write("trap", "new", 3, 0600, &err), -1);
    check_content("victim", "old", 3);
    assert_false(exists("trap"));
}

// What a crash left behind does not shine through: longer, with a wider mode.
static void test_stale_temporary(void **state)
{
    (void)state;
    struct stat status;
    assert_int_equal(file_write("stale.tmp", "a long rest", 11, 0666, NULL), 0);
    assert_int_equal(file_write("stale", "new", 3, 0600, NULL), 0);
    check_content("stale", "new", 3);
    assert_int_equal(stat("stale", &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

// A reader that opened the old file keeps it whole: the new one is another file.
static void test_replaces_by_rename(void **state)
{
    (void)state;
    assert_int_equal(file_write("shared", "first", 5, 0600, NULL), 0);
    int fd = open("shared", O_RDONLY | O_CLOEXEC);
    assert_int_equal(file_write("shared", "2nd", 3, 0600, NULL), 0);
    char bytes[8] = "";
    assert_int_equal(read(fd, bytes, sizeof bytes), 5);
    assert_string_equal(bytes, "first");
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_short_writes),
        cmocka_unit_test(test_mode),
        cmocka_unit_test(test_read_failures),
        cmocka_unit_test(test_read_stdin),
        cmocka_unit_test(test_disk_full),
        cmocka_unit_test(test_write_failures),
        cmocka_unit_test(test_stale_temporary),
        cmocka_unit_test(test_replaces_by_rename),
    };
    return cmocka_run_group_tests_name("base/file", tests, set_up, tear_down);
}
