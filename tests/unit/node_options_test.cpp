#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "src/node/namespace_rules.hpp"
#include "src/node/options.hpp"

namespace driftlock {
namespace {

class OptionsFile {
 public:
  explicit OptionsFile(const std::string& text)
      : path_(testing::TempDir() + "driftlock-options-" + std::to_string(getpid()) + ".toml") {
    std::ofstream(path_) << text;
  }
  ~OptionsFile() { std::remove(path_.c_str()); }
  std::vector<std::string> read(Options& options) { return read_options_file(options, path_); }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

std::string read_whole(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Options, EveryRowIsInASectionAndHasAUniqueNameAndHelp) {
  std::vector<std::string_view> names;
  for (const OptionRow& row : option_rows()) {
    EXPECT_EQ(std::count(names.begin(), names.end(), row.name), 0) << row.name;
    names.push_back(row.name);
    EXPECT_FALSE(std::string(row.help).empty()) << row.name;
    EXPECT_FALSE(allowed_text(row).empty()) << row.name;
    const auto sections = option_sections();
    EXPECT_TRUE(std::any_of(sections.begin(), sections.end(), [&](const auto& section) {
      return section.name == row.section();
    })) << row.name;
  }
}

TEST(Options, EveryDefaultIsAllowedAndItsNeighboursOutsideAreNot) {
  for (const OptionRow& row : option_rows()) {
    Options options = default_options();
    if (const auto* number = std::get_if<WholeNumber>(&row.kind)) {
      EXPECT_TRUE(set_option(options, row, OptionValue{number->fallback}).ok()) << row.name;
      EXPECT_TRUE(set_option(options, row, OptionValue{number->minimum}).ok()) << row.name;
      EXPECT_TRUE(set_option(options, row, OptionValue{number->maximum}).ok()) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{number->minimum - 1}).ok()) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{number->maximum + 1}).ok()) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{std::string("7")}).ok()) << row.name;
      EXPECT_EQ(number->field(options), number->maximum) << "a refused value changes nothing";
    } else if (const auto* choice = std::get_if<Choice>(&row.kind)) {
      for (const char* allowed : choice->allowed) {
        EXPECT_TRUE(set_option(options, row, OptionValue{std::string(allowed)}).ok()) << row.name;
      }
      EXPECT_TRUE(set_option(options, row, OptionValue{std::string(choice->fallback)}).ok());
      EXPECT_FALSE(set_option(options, row, OptionValue{std::string("elsewhat")}).ok()) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{true}).ok()) << row.name;
    } else if (const auto* text = std::get_if<Text>(&row.kind)) {
      EXPECT_TRUE(text->accepts(text->fallback)) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{std::int64_t{7}}).ok()) << row.name;
    } else {
      EXPECT_TRUE(set_option(options, row, OptionValue{true}).ok()) << row.name;
      EXPECT_FALSE(set_option(options, row, OptionValue{std::int64_t{1}}).ok()) << row.name;
    }
  }
  EXPECT_TRUE(check_together(default_options()).empty());
}

TEST(Options, WhatIsPrintedReadsBackTheSame) {
  Options options = default_options();
  ASSERT_TRUE(set_option(options, "port.udp_port=5000").ok());
  ASSERT_TRUE(set_option(options, "clock.trust_unsynchronized=true").ok());
  ASSERT_TRUE(set_option(options, "admin.group=lock \"smiths\"").ok());
  const std::string printed = options_toml(options);
  OptionsFile file(printed);
  Options read = default_options();
  EXPECT_TRUE(file.read(read).empty());
  EXPECT_EQ(options_toml(read), printed);
}

TEST(Options, AllMistakesAreToldAtOnceWithFileKeyValueAndWhatIsAllowed) {
  OptionsFile file(
      "[port]\nudp_port = 70000\nkind = \"carrier pigeon\"\nlcore = 3\n"
      "[limits]\nlocks_max = \"many\"\n[extras]\na = 1\n");
  Options options = default_options();
  const std::vector<std::string> wrong = file.read(options);
  ASSERT_EQ(wrong.size(), 5U);
  std::string all;
  for (const std::string& message : wrong) {
    EXPECT_EQ(message.find(file.path() + ":"), 0U) << message;
    all += message + "\n";
  }
  for (const char* part :
       {":2: port.udp_port = 70000: allowed is 0 to 65535", ":3: port.kind = \"carrier pigeon\"",
        "\"socket\", \"dpdk\"", ":4: port.lcore: no such option; [port] has kind, address",
        ":6: limits.locks_max = \"many\": allowed is 1 to", "extras: no such section"}) {
    EXPECT_NE(all.find(part), std::string::npos) << part << "\n" << all;
  }
}

TEST(Options, BadTomlAndMissingFilesAreErrorsWithTheirPlace) {
  OptionsFile file("[port]\nudp_port = \n");
  Options options = default_options();
  const std::vector<std::string> wrong = file.read(options);
  ASSERT_EQ(wrong.size(), 1U);
  EXPECT_NE(wrong[0].find(":2: "), std::string::npos) << wrong[0];
  EXPECT_EQ(read_options_file(options, file.path() + ".none").size(), 1U);
}

TEST(Options, AssignmentsFromTheCommandLineAreHeldToTheSameTable) {
  Options options = default_options();
  EXPECT_TRUE(set_option(options, "limits.locks_max=123").ok());
  EXPECT_EQ(options.limits.locks_max, 123);
  EXPECT_FALSE(set_option(options, "limits.locks_max=0").ok());
  EXPECT_FALSE(set_option(options, "limits.locks_max=12x").ok());
  EXPECT_FALSE(set_option(options, "limits.locks=1").ok());
  EXPECT_FALSE(set_option(options, "limits.locks_max").ok());
  EXPECT_FALSE(set_option(options, "clock.trust_unsynchronized=yes").ok());
}

TEST(Options, WhatMustFitTogetherIsChecked) {
  const auto wrong_with = [](std::initializer_list<const char*> assignments) {
    Options options = default_options();
    for (const char* assignment : assignments) EXPECT_TRUE(set_option(options, assignment).ok());
    return check_together(options).size();
  };
  EXPECT_EQ(wrong_with({"port.kind=dpdk"}), 1U);
  EXPECT_EQ(wrong_with({"port.kind=dpdk", "port.device=net_null0"}), 0U);
  EXPECT_EQ(wrong_with({"port.kind=dpdk", "port.udp_port=0", "port.address=0.0.0.0"}), 3U);
  EXPECT_EQ(wrong_with({"lease.term_default_ms=60001"}), 1U);
  EXPECT_EQ(wrong_with({"probe.interface=lo", "port.udp_port=0"}), 1U);
}

TEST(Options, AddressesAreTakenApart) {
  HostPort address;
  EXPECT_TRUE(parse_host_port("10.0.0.1:9478", address));
  EXPECT_EQ(address.host, "10.0.0.1");
  EXPECT_EQ(address.port, 9478);
  for (const char* bad : {"10.0.0.1", "10.0.0.1:", "10.0.0.1:65536", "10.0.0.1:-1", ":1", "a:1"}) {
    EXPECT_FALSE(parse_host_port(bad, address)) << bad;
  }
  EXPECT_EQ(format_ipv4(0x0A000001), "10.0.0.1");
}

TEST(Options, NamespaceRulesAreTakenApart) {
  const auto rules = parse_namespace_rules(
      "7: policy=fence, locks_max=10, sessions_max=20, acquires_per_second_max=30; 9: policy=wait");
  ASSERT_TRUE(rules.ok());
  ASSERT_EQ(rules->size(), 2U);
  const NamespaceOptions& first = rules->front();
  EXPECT_EQ(first.id, 7);
  EXPECT_TRUE(first.fence);
  EXPECT_EQ(first.locks_max, 10U);
  EXPECT_EQ(first.sessions_max, 20U);
  EXPECT_EQ(first.acquires_per_second_max, 30U);
  EXPECT_FALSE(rules->back().fence);
  for (const char* bad :
       {"7", "x: policy=wait", "7: policy=perhaps", "7: sessions_max=-1", "7: sessions=3",
        "7: locks_max=", "65536: policy=wait", "7: policy=wait; 7: policy=fence"}) {
    EXPECT_FALSE(parse_namespace_rules(bad).ok()) << bad;
  }
}

TEST(Options, NamespacesAreNotTooMany) {
  Options options = default_options();
  for (int id = 0; id < 200; ++id)
    options.namespaces.rules += std::to_string(id) + ": policy=wait; ";
  options.predict.contention = true;
  EXPECT_TRUE(check_together(options).empty());
  for (int id = 199; id < 300; ++id) {
    options.predict.advance_namespaces += std::to_string(id) + (id < 299 ? "," : "");
  }
  EXPECT_EQ(check_together(options).size(), 1U);
}

TEST(Options, TheDocumentationIsCurrent) {
  EXPECT_EQ(read_whole(DRIFTLOCK_SOURCE_ROOT "/docs/configuration.md"), options_markdown())
      << "run: driftlockd --options-markdown > docs/configuration.md";
}

}  // namespace
}  // namespace driftlock
