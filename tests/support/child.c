#include "child.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void must(bool good, const char *what)
{
    if (good)
        return;
    perror(what);
    abort();
}

pid_t child_start(const char *log, char *const argv[])
{
    pid_t parent = getpid();
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child > 0)
        return child;
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent ||
        dup2(fd, STDOUT_FILENO) < 0 || dup2(fd, STDERR_FILENO) < 0)
        _exit(126);
    (void)execv(argv[0], argv);
    _exit(127);
}

void child_stop(pid_t child, int signal)
{
    if (child <= 0)
        return;
    (void)kill(child, signal);
    (void)kill(child, SIGCONT); // also one that was stopped
    must(waitpid(child, NULL, 0) == child, "waitpid");
}

static int bound_socket(struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    must(fd >= 0, "socket");
    return fd;
}

int port_free(void)
{
    struct sockaddr_in address;
    socklen_t size = sizeof address;
    int fd = bound_socket(&address);
    must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 &&
             getsockname(fd, (struct sockaddr *)&address, &size) == 0,
         "bind");
    (void)close(fd);
    return ntohs(address.sin_port);
}

void port_wait(int port, int seconds)
{
    for (int tries = 0; tries < seconds * 200; tries++) {
        struct sockaddr_in address;
        int fd = bound_socket(&address);
        address.sin_port = htons((uint16_t)port);
        int failure = connect(fd, (struct sockaddr *)&address, sizeof address);
        (void)close(fd);
        if (failure == 0)
            return;
        (void)nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
    (void)fprintf(stderr, "nothing listens on port %d after %d s\n", port, seconds);
    abort();
}

pid_t mosquitto_start(const char *folder, int port, const char *lines)
{
    char path[512];
    char log[512];
    (void)snprintf(path, sizeof path, "%s/mosquitto.conf", folder);
    (void)snprintf(log, sizeof log, "%s/mosquitto.log", folder);
    FILE *file = fopen(path, "we");
    must(file != NULL, path);
    (void)fprintf(
        file,
        "allow_anonymous true\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        "set_tcp_nodelay true\nlog_type error\nlog_type warning\n%slistener %d 127.0.0.1\n%s",
        geteuid() == 0 ? "user root\n" : "", port, lines); // its files are ours
    must(fclose(file) == 0, path);
    char *argv[] = {"/usr/sbin/mosquitto", "-c", path, NULL};
    pid_t child = child_start(log, argv);
    port_wait(port, 10);
    return child;
}
