/* Several locks at once from one event loop: outcomes are fetched when the descriptor is readable.
 * cc poll.c $(pkg-config --cflags --libs driftlock) -o poll && ./poll 127.0.0.1:4780 client.key a b
 * c */
#include <driftlock.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char** argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s SERVER KEY_FILE KEY...\n", argv[0]);
    return 2;
  }
  const driftlock_options options = {
      .size = sizeof options, .server = argv[1], .key_file = argv[2]};
  driftlock_client* client = NULL;
  if (driftlock_connect(&options, &client) != DRIFTLOCK_OK) {
    fprintf(stderr, "%s\n", driftlock_last_error());
    return 1;
  }
  const driftlock_lock_options how = {.size = sizeof how, .wait_ns = 10000000000};
  int waiting = 0;
  for (int i = 3; i < argc; ++i) {
    waiting += driftlock_acquire_start(client, argv[i], strlen(argv[i]), &how, NULL, NULL) != 0;
  }
  while (waiting > 0) {
    struct pollfd ready = {.fd = driftlock_descriptor(client), .events = POLLIN};
    if (poll(&ready, 1, -1) < 0) break;
    uint64_t operation = 0;
    driftlock_lock* lock = NULL;
    for (int outcome; (outcome = driftlock_next(client, &operation, &lock)) != DRIFTLOCK_PENDING;) {
      printf("operation %" PRIu64 ": %s", operation, driftlock_outcome_name(outcome));
      if (lock != NULL) printf(", token %" PRIu64, driftlock_token(lock));
      printf("\n");
      driftlock_release(lock);
      --waiting;
    }
  }
  driftlock_disconnect(client);
  return 0;
}
