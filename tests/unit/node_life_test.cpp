#include "src/node/life.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace driftlock {
namespace {

class LifeTest : public ::testing::Test {
 protected:
  ~LifeTest() override { std::filesystem::remove_all(directory_); }

  const std::string directory_ =
      testing::TempDir() + "driftlock-life-" + std::to_string(getpid()) + "/deep";
};

TEST_F(LifeTest, TheEpochRisesAndTheSecretsStay) {
  Life::Secrets first;
  for (std::uint32_t epoch = 1; epoch <= 3; ++epoch) {
    auto life = Life::begin(directory_);
    ASSERT_TRUE(life.ok()) << life.error().message;
    EXPECT_EQ((*life)->epoch(), epoch);
    if (epoch == 1) first = (*life)->secrets();
    EXPECT_EQ((*life)->secrets().ticket_key, first.ticket_key);
    EXPECT_EQ((*life)->secrets().hash_seed, first.hash_seed);
  }
  EXPECT_NE(first.ticket_key, SecretKey{});
}

TEST_F(LifeTest, TheHorizonOutlivesACrashAndTheNextCrash) {
  {
    auto life = Life::begin(directory_);
    ASSERT_TRUE(life.ok());
    EXPECT_EQ((*life)->leases_before_end_tai_ns(), kLongAgo);
    ASSERT_TRUE((*life)->record_horizon(12345).ok());
  }
  // Nothing is recorded in between: the limit of the first life still stands.
  for (int i = 0; i < 2; ++i) {
    auto life = Life::begin(directory_);
    ASSERT_TRUE(life.ok());
    EXPECT_EQ((*life)->leases_before_end_tai_ns(), 12345);
  }
}

TEST_F(LifeTest, TwoDoNotLiveInOneDirectory) {
  auto life = Life::begin(directory_);
  ASSERT_TRUE(life.ok());
  const auto second = Life::begin(directory_);
  ASSERT_FALSE(second.ok());
  EXPECT_NE(second.error().message.find("another driftlockd"), std::string::npos);
}

TEST_F(LifeTest, ADamagedFileIsNotTakenForANewLife) {
  { ASSERT_TRUE(Life::begin(directory_).ok()); }
  std::ofstream(directory_ + "/life", std::ios::trunc) << "epo";
  const auto life = Life::begin(directory_);
  ASSERT_FALSE(life.ok());
  EXPECT_NE(life.error().message.find("damaged"), std::string::npos);
}

}  // namespace
}  // namespace driftlock
