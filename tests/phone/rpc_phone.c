/* The emulated phone: a TVM RPC server in plain C, on the C interface of libtvm_ffi alone.
 *
 *   rpc_phone KEY TRACKER_PORT
 *
 * It listens on 127.0.0.1 only, for whoever connects can run code, and registers with a tracker there. Every session
 * runs in a forked child with a folder of its own: a kernel that crashes or hangs ends its session, never the phone.
 *
 * stdout: "listening PORT" once it does; stderr: one line per session. It ends when the tracker leaves.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <ftw.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <tvm/ffi/c_api.h>

/* From TVM's python/tvm/rpc/base.py. */
enum { kRpcMagic = 0xFF271, kTrackerMagic = 0x2F271, kRpcMismatch = kRpcMagic + 2 };
enum { kPut = 3, kUpdateInfo = 5, kPendingKeys = 7 };

static const double kMaxSessionSecs = 600;
static const double kGraceSecs = 3; /* how long a kernel may go on when its client has left */

static const char* g_key;
static char g_folder[256];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static void say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
}

static void die(const char* what) {
  say("%s: %s", what, strerror(errno));
  exit(1);
}

/* ---- bytes on a socket ---- */

static int send_all(int fd, const void* data, size_t size) {
  for (const char* p = data; size;) {
    ssize_t n = send(fd, p, size, MSG_NOSIGNAL);
    if (n <= 0) return -1;
    p += n, size -= n;
  }
  return 0;
}

static int recv_all(int fd, void* data, size_t size) {
  for (char* p = data; size;) {
    ssize_t n = recv(fd, p, size, 0);
    if (n <= 0) return -1;
    p += n, size -= n;
  }
  return 0;
}

static int send_text(int fd, const char* text) {
  int32_t size = strlen(text);
  return send_all(fd, &size, 4) || send_all(fd, text, size);
}

/* The caller frees the result; NULL on a broken connection. */
static char* recv_text(int fd, int32_t limit) {
  int32_t size;
  if (recv_all(fd, &size, 4) || size < 0 || size > limit) return NULL;
  char* text = calloc(1, size + 1);
  if (recv_all(fd, text, size)) return free(text), NULL;
  return text;
}

/* ---- what the TVM runtime looks up on a server ---- */

static const char* as_text(const TVMFFIAny* v, size_t* size) {
  if (v->type_index == kTVMFFIRawStr) return *size = strlen(v->v_c_str), v->v_c_str;
  if (v->type_index == kTVMFFISmallStr) return *size = v->small_str_len, v->v_bytes;
  if (v->type_index == kTVMFFIStr) {
    const TVMFFIByteArray* a = (const TVMFFIByteArray*)((const char*)v->v_obj + sizeof(TVMFFIObject));
    return *size = a->size, a->data;
  }
  return NULL;
}

static int fail(const char* message) { return TVMFFIErrorSetRaisedFromCStr("RuntimeError", message), -1; }

static int call_global(const char* name, TVMFFIAny* arguments, int count, TVMFFIAny* result) {
  TVMFFIByteArray key = {name, strlen(name)};
  TVMFFIObjectHandle f = NULL;
  if (TVMFFIFunctionGetGlobal(&key, &f) || !f) return fail(name);
  *result = (TVMFFIAny){.type_index = kTVMFFINone};
  int code = TVMFFIFunctionCall(f, arguments, count, result);
  TVMFFIObjectDecRef(f);
  return code;
}

static int session_path(const TVMFFIAny* argument, char* path, size_t limit) {
  size_t size;
  const char* name = as_text(argument, &size);
  if (!name || size + strlen(g_folder) + 2 > limit) return fail("bad file name");
  if (memmem(name, size, "..", 2)) return fail("a file name may not leave the session's folder");
  snprintf(path, limit, "%s/%.*s", g_folder, (int)size, name);
  return 0;
}

static int f_workpath(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  char path[1024];
  if (count != 1 || session_path(arguments, path, sizeof path)) return -1;
  TVMFFIByteArray text = {path, strlen(path)};
  return TVMFFIStringFromByteArray(&text, result);
}

static int f_load_module(void* self, const TVMFFIAny* arguments, int32_t count, TVMFFIAny* result) {
  char path[1024];
  if (count != 1 || session_path(arguments, path, sizeof path)) return -1;
  TVMFFIAny file = {.type_index = kTVMFFIRawStr};
  file.v_c_str = path;
  return call_global("ffi.ModuleLoadFromFile", &file, 1, result);
}

static void register_global(const char* name, TVMFFISafeCallType call) {
  TVMFFIByteArray key = {name, strlen(name)};
  TVMFFIObjectHandle f = NULL;
  if (TVMFFIFunctionCreate(NULL, call, NULL, &f) || TVMFFIFunctionSetGlobal(&key, f, 1)) die(name);
  TVMFFIObjectDecRef(f);
}

/* ---- a session ---- */

static void run_session(int fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL); /* no session outlives its phone */
  if (chdir(g_folder)) die(g_folder);
  register_global("tvm.rpc.server.workpath", f_workpath);
  register_global("tvm.rpc.server.load_module", f_load_module);
  TVMFFIAny socket = {.type_index = kTVMFFIInt}, result;
  socket.v_int64 = fd;
  int code = call_global("rpc.ServerLoop", &socket, 1, &result);
  _exit(code ? 3 : 0); /* no destructors: uploaded code may have left threads behind */
}

static void tell_timeout(int fd, double limit) {
  char text[160];
  snprintf(text, sizeof text, "RPCSessionTimeoutError: the session's %g s are over", limit);
  TVMFFIAny a[2] = {{.type_index = kTVMFFIInt}, {.type_index = kTVMFFIRawStr}}, result;
  a[0].v_int64 = fd;
  a[1].v_c_str = text;
  call_global("rpc.ReturnException", a, 2, &result);
}

/* Waits for the session's child; NULL when it ended by itself, else why it was killed. */
static const char* watch(pid_t child, int fd, double limit, int* status) {
  double start = now(), left_at = 0;
  while (waitpid(child, status, WNOHANG) != child) {
    struct pollfd p = {fd, POLLRDHUP, 0};
    if (!left_at && poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR))) left_at = now();
    const char* why = NULL;
    if (now() - start > limit) why = "timed out";
    if (left_at && now() - left_at > kGraceSecs) why = "client left, kernel still running";
    if (why) {
      if (!left_at) tell_timeout(fd, limit);
      kill(child, SIGKILL);
      waitpid(child, status, 0);
      return why;
    }
    usleep(now() - start < 1 ? 5000 : 20000);
  }
  return NULL;
}

static int drop_entry(const char* path, const struct stat* s, int flag, struct FTW* w) { return remove(path), 0; }

static void serve(int fd, double limit) {
  const char* temp = getenv("TMPDIR");
  snprintf(g_folder, sizeof g_folder, "%s/session.XXXXXX", temp ? temp : "/tmp");
  if (!mkdtemp(g_folder)) die(g_folder);
  double start = now();
  pid_t child = fork();
  if (child < 0) die("fork");
  if (child == 0) run_session(fd);
  int status = 0;
  const char* why = watch(child, fd, limit, &status);
  if (why) say("session %s after %.1f s", why, now() - start);
  else if (WIFSIGNALED(status)) say("session crashed, signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (WEXITSTATUS(status)) say("session ended with exit status %d", WEXITSTATUS(status));
  else say("session done after %.1f s", now() - start);
  close(fd);
  nftw(g_folder, drop_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- tracker and clients ---- */

static int local_socket(struct sockaddr_in* address, int port) {
  *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Asks the tracker; the caller frees the reply. A tracker that is gone ends the phone: nobody could find it any more. */
static char* ask(int tracker, const char* text) {
  char* reply = send_text(tracker, text) ? NULL : recv_text(tracker, 1 << 24);
  if (!reply) say("tracker left"), exit(0);
  return reply;
}

static int register_phone(int tracker_port, int port) {
  struct sockaddr_in address;
  int tracker = local_socket(&address, tracker_port);
  int32_t magic = kTrackerMagic;
  if (connect(tracker, (struct sockaddr*)&address, sizeof address)) die("tracker");
  if (send_all(tracker, &magic, 4) || recv_all(tracker, &magic, 4) || magic != kTrackerMagic) die("not a tracker");
  char text[512];
  snprintf(text, sizeof text, "[%d, {\"key\": \"server:%s\", \"addr\": [null, %d]}]", kUpdateInfo, g_key, port);
  free(ask(tracker, text));
  return tracker;
}

/* Offers the phone to the next client, who must show the key written to `match`. */
static void offer(int tracker, int port, char* match, size_t size) {
  static unsigned turn;
  char text[512];
  snprintf(match, size, "%s:0.%06u%06u", g_key, (unsigned)getpid() % 1000000, ++turn);
  snprintf(text, sizeof text, "[%d, \"%s\", [%d, \"%s\"], null]", kPut, g_key, port, match);
  free(ask(tracker, text));
}

static int is_pending(int tracker, const char* match) {
  char text[16], quoted[330];
  snprintf(text, sizeof text, "[%d]", kPendingKeys);
  snprintf(quoted, sizeof quoted, "\"%s\"", match);
  char* pending = ask(tracker, text);
  int found = strstr(pending, quoted) != NULL;
  free(pending);
  return found;
}

/* 0 when the client is admitted; *limit is then its session's time-out in seconds. */
static int handshake(int fd, const char* match, double* limit) {
  struct timeval wait = {5, 0}, forever = {0, 0};
  int one = 1;
  int32_t magic;
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (recv_all(fd, &magic, 4) || magic != kRpcMagic) return -1;
  char *save = NULL, *hello = recv_text(fd, 4096);
  if (!hello) return -1;
  char* key = strtok_r(hello, " ", &save);
  int good = key && !strncmp(key, "client:", 7) && !strcmp(key + 7, match);
  *limit = kMaxSessionSecs;
  for (char* option; good && (option = strtok_r(NULL, " ", &save));)
    if (!strncmp(option, "-timeout=", 9) && atof(option + 9) > 0 && atof(option + 9) < *limit) *limit = atof(option + 9);
  free(hello);
  if (!good) {
    magic = kRpcMismatch;
    send_all(fd, &magic, 4);
    say("a client with another key was refused");
    return -1;
  }
  char name[256];
  snprintf(name, sizeof name, "server:%s", g_key);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &forever, sizeof forever);
  return send_all(fd, &magic, 4) || send_text(fd, name);
}

/* One offer: until a session has ended, or nobody took up the key that the tracker has handed out. */
static void wait_for_client(int listener, int tracker, const char* match) {
  for (int periods = 0; periods < 4;) {
    struct pollfd p[2] = {{listener, POLLIN, 0}, {tracker, POLLRDHUP, 0}};
    if (poll(p, 2, 2000) < 0 && errno != EINTR) die("poll");
    if (p[1].revents & (POLLRDHUP | POLLHUP | POLLERR)) say("tracker left"), exit(0);
    if (!(p[0].revents & POLLIN)) {
      periods = is_pending(tracker, match) ? 0 : periods + 1;
      continue;
    }
    double limit;
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) continue;
    if (!handshake(fd, match, &limit)) return serve(fd, limit);
    close(fd);
  }
}

int main(int argc, char** argv) {
  if (argc != 3) return fprintf(stderr, "usage: rpc_phone KEY TRACKER_PORT\n"), 2;
  g_key = argv[1];
  signal(SIGPIPE, SIG_IGN);
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int listener = local_socket(&address, 0);
  if (bind(listener, (struct sockaddr*)&address, size) || listen(listener, 16)) die("bind");
  getsockname(listener, (struct sockaddr*)&address, &size);
  int port = ntohs(address.sin_port), tracker = register_phone(atoi(argv[2]), port);
  printf("listening %d\n", port);
  fflush(stdout);
  for (char match[320];;) {
    offer(tracker, port, match, sizeof match);
    wait_for_client(listener, tracker, match);
  }
}
