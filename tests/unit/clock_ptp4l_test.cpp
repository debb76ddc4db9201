#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "hw/pmc_message.hpp"
#include "hw/ptp4l_source.hpp"
#include "hw/system_clock_source.hpp"

namespace driftlock {
namespace {

// An answer of ptp4l: header, management part and one TLV around `data`.
std::vector<std::uint8_t> answer(PmcId id, std::uint16_t sequence,
                                 const std::vector<std::uint8_t>& data) {
  std::vector<std::uint8_t> message(54 + data.size(), 0);
  const auto put = [&](std::size_t at, std::size_t value) {
    message[at] = static_cast<std::uint8_t>(value >> 8);
    message[at + 1] = static_cast<std::uint8_t>(value);
  };
  message[0] = 0x0D;
  message[1] = 2;
  put(2, 54 + data.size());
  put(30, sequence);
  message[46] = 2;  // RESPONSE
  put(48, 1);
  put(50, 2 + data.size());
  put(52, static_cast<std::size_t>(id));
  for (std::size_t i = 0; i < data.size(); ++i) message[54 + i] = data[i];
  return message;
}

TEST(PmcMessage, ReadsTheCurrentDataSet) {
  std::vector<std::uint8_t> data(18, 0);
  // -1.5 ns and 2 ns, with 16 bits of fraction.
  for (std::size_t i = 2; i < 8; ++i) data[i] = 0xFF;
  data[7] = 0xFE;
  data[8] = 0x80;
  data[15] = 2;
  Ptp4lState state;
  ASSERT_TRUE(apply_pmc_answer(answer(PmcId::kCurrentDataSet, 7, data), 7, state));
  EXPECT_DOUBLE_EQ(state.offset_ns, -1.5);
  EXPECT_DOUBLE_EQ(state.path_delay_ns, 2.0);
}

TEST(PmcMessage, ReadsTheParentAndThePort) {
  std::vector<std::uint8_t> parent(32, 0);
  parent[19] = 6;
  parent[20] = 0x21;
  parent[24] = 0xAB;
  Ptp4lState state;
  ASSERT_TRUE(apply_pmc_answer(answer(PmcId::kParentDataSet, 1, parent), 1, state));
  EXPECT_EQ(state.grandmaster_class, 6);
  EXPECT_EQ(accuracy_ns(state.grandmaster_accuracy), 100);
  EXPECT_EQ(to_string(state.grandmaster), "ab0000.0000.000000");
  std::vector<std::uint8_t> port(26, 0);
  port[10] = 9;
  ASSERT_TRUE(apply_pmc_answer(answer(PmcId::kPortDataSet, 2, port), 2, state));
  EXPECT_EQ(state.port_state, PtpPortState::kSlave);
}

TEST(PmcMessage, RefusesWhatIsCutOffOrNotAsked) {
  Ptp4lState state;
  auto message = answer(PmcId::kCurrentDataSet, 7, std::vector<std::uint8_t>(18, 0));
  EXPECT_FALSE(apply_pmc_answer(message, 8, state));
  for (std::size_t size = 0; size < message.size(); ++size) {
    EXPECT_FALSE(apply_pmc_answer({message.data(), size}, 7, state)) << size;
  }
  message[46] = 0;  // a GET is no answer
  EXPECT_FALSE(apply_pmc_answer(message, 7, state));
}

TEST(Ptp4l, CountsOffsetDelayAndAccuracy) {
  Ptp4lState state;
  EXPECT_FALSE(judge_ptp4l(state, 0.0, {}).ok());
  state.port_state = PtpPortState::kSlave;
  state.grandmaster_present = true;
  state.grandmaster_accuracy = 0x21;
  EXPECT_FALSE(judge_ptp4l(state, 0.0, {}).ok());  // no delay measured yet
  state.path_delay_ns = 700.0;
  EXPECT_EQ(judge_ptp4l(state, -40.0, {}).value(), 100 + 40 + 700);
  state.port_state = PtpPortState::kUncalibrated;
  EXPECT_FALSE(judge_ptp4l(state, 0.0, {}).ok());
  Ptp4lOptions measuring;
  measuring.free_running = true;
  EXPECT_TRUE(judge_ptp4l(state, 0.0, measuring).ok());
}

TEST(Ptp4l, APortThatLostItsMasterIsNoReference) {
  Ptp4lState state;
  state.port_state = PtpPortState::kMaster;
  state.grandmaster_class = 248;
  EXPECT_FALSE(judge_ptp4l(state, 0.0, {}).ok());
  state.grandmaster_class = 6;
  state.grandmaster_accuracy = 0x20;
  EXPECT_EQ(judge_ptp4l(state, 0.0, {}).value(), 25);
}

TEST(Ptp4l, SaysThatNobodyListens) {
  Ptp4lOptions options;
  options.socket_path = "/var/run/driftlock-no-such-ptp4l";
  Ptp4lSource source(std::make_unique<SystemClockSource>(SystemClockOptions{}), options);
  const auto sample = source.sample();
  ASSERT_FALSE(sample.ok());
  EXPECT_NE(sample.error().message.find("does not listen"), std::string::npos);
}

}  // namespace
}  // namespace driftlock
