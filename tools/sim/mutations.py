"""The deliberate bugs: name, what it is, and the places: (file, text as it is, text with the bug).

MUTANT is true while the bug is switched on. Each text must occur exactly once in its file; where it
does not any more, mutate.py says so, and the bug has to be put in again.
"""

LOCKS = "src/lock/engine_locks.cpp"
SESSIONS = "src/lock/engine_sessions.cpp"
ENGINE = "src/lock/engine.cpp"
CANCEL = "src/lock/engine_cancel.cpp"

MUTATIONS = [
    ("skip-mac", "the node does not look at the MAC", [
        ("src/lock/fast_path_impl.hpp", "if (!equal_mac(mac, wire::load<Mac>(theirs))) {",
         "if (!MUTANT && !equal_mac(mac, wire::load<Mac>(theirs))) {")]),
    ("client-skips-mac", "the client does not look at the MAC", [
        ("src/client/session_core.cpp", "!verify_datagram(session_key_, datagram)",
         "(!MUTANT && !verify_datagram(session_key_, datagram))")]),
    ("release-ignores-token", "a late release frees a newer hold", [
        (LOCKS, """locks_.holder_of(lock, session_index, session.claims, request.argument);
  if (claim == kNil || locks_.claim(claim).depth == 0) {
    const bool""",
         """(MUTANT ? locks_.holder_of(lock, session_index, session.claims)
     : locks_.holder_of(lock, session_index, session.claims, request.argument));
  if (claim == kNil || locks_.claim(claim).depth == 0) {
    const bool""")]),
    ("free-at-latest", "a lease is over when `latest`, not `earliest`, has passed its end", [
        (ENGINE, "session_timers_.advance(now.tai.earliest,",
         "session_timers_.advance(MUTANT ? now.tai.latest : now.tai.earliest,"),
        (SESSIONS, "if (session.lease_end_ns >= now.tai.earliest) {",
         "if (session.lease_end_ns >= (MUTANT ? now.tai.latest : now.tai.earliest)) {")]),
    ("expire-at-once", "the first end of a lease ends the session, renewed or not", [
        (SESSIONS, "if (session.lease_end_ns >= now.tai.earliest) {",
         "if (!MUTANT && session.lease_end_ns >= now.tai.earliest) {")]),
    ("repeat-acts-twice", "a slot forgets its sequence number", [
        (ENGINE, "if (request.sequence == slot.sequence && slot.state != SlotState::kEmpty) {",
         "if (!MUTANT && request.sequence == slot.sequence && slot.state != SlotState::kEmpty) {"),
        (ENGINE, "if (request.sequence != slot.sequence + 1 || slot.state == SlotState::kWaiting) {",
         """if ((request.sequence != slot.sequence + 1 &&
       !(MUTANT && request.sequence == slot.sequence)) || slot.state == SlotState::kWaiting) {""")]),
    ("newcomers-first", "a newcomer is granted before those who wait", [
        (LOCKS, "(!locks_.has_waiters(lock) || take_it_over)",
         "(!locks_.has_waiters(lock) || take_it_over || MUTANT)")]),
    ("shared-beside-exclusive", "an exclusive holder leaves room for readers", [
        (LOCKS, "      wanted = size = kRwPermits;",
         "      size = kRwPermits;\n      wanted = MUTANT ? kRwPermits - 4 : kRwPermits;")]),
    ("no-cancel-ahead", "a cancel that overtakes its acquire is forgotten", [
        (CANCEL, "  if (sequence == other.sequence + 1 && other.state != SlotState::kWaiting) {",
         """  if (MUTANT && sequence == other.sequence + 1) {
  } else if (sequence == other.sequence + 1 && other.state != SlotState::kWaiting) {""")]),
    ("epoch-not-raised", "a restarted node goes on with its old epoch", [
        ("tools/sim/node.cpp", "  ++epoch_;", "  if (!MUTANT || epoch_ == 0) ++epoch_;")]),
    ("ready-after-ignored", "a restarted node grants at once", [
        (LOCKS, "if (now.tai.earliest <= options_.ready_after_tai_ns) return Status::kNotReady;",
         """if (!MUTANT && now.tai.earliest <= options_.ready_after_tai_ns) {
    return Status::kNotReady;
  }""")]),
    ("lease-from-receipt", "an unsynchronized client counts from the receipt of the answer", [
        ("src/client/node_clock.cpp", "    upper_local_ns_ = exchange.sent_local_ns;",
         """    upper_local_ns_ = MUTANT ? exchange.received_local_ns : exchange.sent_local_ns;""")]),
    ("drift-ignored", "the client takes its counter for perfect", [
        ("src/client/node_clock.hpp", "drift_bound_(drift_bound)",
         "drift_bound_(MUTANT ? 0.0 : drift_bound)")]),
    ("belief-not-rechecked", "a holder believes until it is told, not until its lease is over", [
        ("src/client/lease_view.hpp",
         "if (local_ns >= safe_until_ns_.load(std::memory_order_acquire)) {",
         "if (!MUTANT && local_ns >= safe_until_ns_.load(std::memory_order_acquire)) {")]),
    ("grants-when-lost", "the node grants while its clock is LOST", [
        (LOCKS, "if (now.state == ClockState::kLost) return Status::kClockLost;",
         "if (now.state == ClockState::kLost) return MUTANT ? Status::kOk : Status::kClockLost;")]),
    ("token-not-raised", "two grants have one token", [
        (LOCKS, "  ++next_token_;\n", "  if (!MUTANT) ++next_token_;\n")]),
    ("deadline-ignored", "a wait goes on past its deadline", [
        (ENGINE, "if (wait_deadlines_[id] < now.tai.earliest) {",
         "if (!MUTANT && wait_deadlines_[id] < now.tai.earliest) {")]),
    ("horizon-ignored", "leases are promised past the horizon on disk", [
        (SESSIONS, "std::min(wanted_ns, horizon_ns)", "(MUTANT ? wanted_ns : std::min(wanted_ns, horizon_ns))")]),
    ("waiters-forgotten", "a release does not hand the lock on", [
        (LOCKS, "  --holders_;\n  serve_waiters(lock, now);",
         "  --holders_;\n  if (!MUTANT) serve_waiters(lock, now);")]),
]
