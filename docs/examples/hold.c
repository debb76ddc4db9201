/* Take a lock, do something that takes a while, and check before each step that the lock is still
 * held. cc hold.c $(pkg-config --cflags --libs driftlock) -o hold && ./hold 127.0.0.1:4780
 * client.key demo */
#define _POSIX_C_SOURCE 200809L
#include <driftlock.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void on_event(void* user, int event) {
  (void)user;
  if (event == DRIFTLOCK_EVENT_JEOPARDY) fprintf(stderr, "renewals are not answered\n");
}

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: %s SERVER KEY_FILE KEY\n", argv[0]);
    return 2;
  }
  const driftlock_options options = {
      .size = sizeof options, .server = argv[1], .key_file = argv[2], .on_event = on_event};
  driftlock_client* client = NULL;
  if (driftlock_connect(&options, &client) != DRIFTLOCK_OK) {
    fprintf(stderr, "%s\n", driftlock_last_error());
    return 1;
  }
  const driftlock_lock_options how = {.size = sizeof how, .wait_ns = 10000000000};
  driftlock_lock* lock = NULL;
  const int outcome = driftlock_acquire(client, argv[3], strlen(argv[3]), &how, &lock);
  if (outcome != DRIFTLOCK_OK) {
    fprintf(stderr, "%s: %s\n", argv[3], driftlock_outcome_name(outcome));
    driftlock_disconnect(client);
    return 1;
  }
  printf("held with token %" PRIu64 "\n", driftlock_token(lock));
  for (int step = 1; step <= 3 && driftlock_still_held(lock); ++step) {
    printf("step %d, sure for %" PRId64 " ms\n", step, driftlock_remaining_ns(lock) / 1000000);
    const struct timespec pause = {0, 100000000};
    nanosleep(&pause, NULL);
  }
  const int released = driftlock_release(lock);
  printf("released: %s\n", driftlock_outcome_name(released));
  driftlock_disconnect(client);
  return released == DRIFTLOCK_OK ? 0 : 1;
}
