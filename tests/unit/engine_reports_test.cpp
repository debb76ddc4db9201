// What a probe reports of a session: by whom it is taken, and that it is taken once.
#include "tests/unit/engine_fixture.hpp"

namespace driftlock {
namespace {

using test::Op;
using test::Reply;
using test::Request;
using test::small_options;
using test::Status;

class EngineReports : public test::EngineFixture {
 protected:
  static constexpr std::uint32_t kElsewhere = 0x0A000099;

  EngineReports() {
    keyring_ = Keyring{{{1, "demo", SecretKey{{1, 2, 3, 4}}}, {2, "other", SecretKey{{5, 6}}}}};
    restart(small_options());
  }
  RequestContext from(std::uint32_t ipv4) const {
    RequestContext context = this->context();
    context.peer.ipv4 = ipv4;
    return context;
  }
  Client open_as(std::uint64_t client_id, std::uint32_t ipv4) {
    wire::OpenRequest request;
    request.client_nonce[0] = ++nonces_;
    request.slots = 4;
    const SecretKey& key = *keyring_.find(client_id);
    request.cookie = node_->open(client_id, key, request, from(ipv4)).cookie;
    const wire::OpenReply reply = node_->open(client_id, key, request, from(ipv4));
    EXPECT_EQ(reply.status, Status::kOk);
    Client client;
    client.session = node_->sessions().find(reply.session_id);
    return client;
  }
  wire::ProbeReport report_about(const Client& subject, Client& reporter) {
    wire::ProbeReport report;
    report.slot = 1;
    report.sequence = ++reporter.sequences[1];
    report.clock = wire::kReportClockMonotonic;
    report.session_id = node_->sessions().at(subject.session).id;
    report.span_ns = kSecond;
    report.requests = 10;
    report.replies = 9;
    report.p50_ns = 80'000;
    report.p99_ns = 120'000;
    return report;
  }
  Status tell(Client& reporter, const wire::ProbeReport& report, std::uint32_t ipv4) {
    Reply reply;
    node_->handle(reporter.session, std::bit_cast<Request>(report), 0, from(ipv4), reply);
    EXPECT_EQ(reply.op, Op::kProbeReport);
    return reply.status;
  }
};

TEST_F(EngineReports, AreTakenOnceAboutTheReportersOwnClient) {
  Client subject = open_as(1, 0x0A000001);
  Client reporter = open_as(1, kElsewhere);
  const wire::ProbeReport report = report_about(subject, reporter);
  EXPECT_EQ(tell(reporter, report, kElsewhere), Status::kOk);
  const auto taken = node_->take_path_report();
  ASSERT_TRUE(taken.has_value());
  EXPECT_EQ(taken->session_index, subject.session);
  EXPECT_EQ(taken->session_id, report.session_id);
  EXPECT_EQ(taken->requests, 10U);
  EXPECT_EQ(taken->replies, 9U);
  EXPECT_EQ(taken->p99_ns, 120'000);
  EXPECT_FALSE(node_->take_path_report().has_value());
  // A repeat gets the same answer, and acts no second time.
  EXPECT_EQ(tell(reporter, report, kElsewhere), Status::kOk);
  EXPECT_FALSE(node_->take_path_report().has_value());
}

TEST_F(EngineReports, AreTakenAboutTheReportersHostAndNoOther) {
  Client subject = open_as(1, 0x0A000001);
  Client neighbour = open_as(2, 0x0A000001);
  Client stranger = open_as(2, kElsewhere);
  // Where pushes go to is where the session's newest request came from.
  EXPECT_EQ(tell(stranger, report_about(subject, stranger), kElsewhere), Status::kDenied);
  EXPECT_FALSE(node_->take_path_report().has_value());
  EXPECT_EQ(tell(neighbour, report_about(subject, neighbour), 0x0A000001), Status::kOk);
  EXPECT_TRUE(node_->take_path_report().has_value());
  wire::ProbeReport unknown = report_about(subject, neighbour);
  unknown.session_id = 12345;
  EXPECT_EQ(tell(neighbour, unknown, 0x0A000001), Status::kDenied);
}

TEST_F(EngineReports, OfAnUnknownClockOrWithoutSenseAreRefused) {
  Client client = open_as(1, 0x0A000001);
  wire::ProbeReport report = report_about(client, client);
  report.clock = 2;
  EXPECT_EQ(tell(client, report, 0x0A000001), Status::kBadRequest);
  report = report_about(client, client);
  report.span_ns = 0;
  EXPECT_EQ(tell(client, report, 0x0A000001), Status::kBadRequest);
  report = report_about(client, client);
  report.p50_ns = report.p99_ns + 1;
  EXPECT_EQ(tell(client, report, 0x0A000001), Status::kBadRequest);
  report = report_about(client, client);
  report.p99_ns = ~std::uint64_t{0};
  EXPECT_EQ(tell(client, report, 0x0A000001), Status::kBadRequest);
  EXPECT_FALSE(node_->take_path_report().has_value());
  // More answers than requests: those of the span before, and no share below nothing.
  report = report_about(client, client);
  report.replies = 12;
  EXPECT_EQ(tell(client, report, 0x0A000001), Status::kOk);
  EXPECT_EQ(node_->take_path_report()->replies, 10U);
}

}  // namespace
}  // namespace driftlock
