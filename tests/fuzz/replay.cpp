// Corpus replay: the same fuzz target as libFuzzer runs, over the files of its corpus and over
// seeded mutations of them, as a plain program for any compiler. usage: replay [--runs N] DIR...
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

using Bytes = std::vector<std::uint8_t>;

std::vector<Bytes> read_corpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());  // the same order, so the same mutations, everywhere
  std::vector<Bytes> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

Bytes mutate(const std::vector<Bytes>& inputs, std::mt19937_64& random) {
  const auto below = [&random](std::size_t end) { return end == 0 ? 0 : random() % end; };
  Bytes bytes = inputs[below(inputs.size())];
  for (std::size_t change = below(4) + 1; change > 0; --change) {
    const Bytes& other = inputs[below(inputs.size())];
    switch (below(5)) {
      case 0:
        bytes.resize(below(bytes.size() + 1));
        break;
      case 1:
        if (!bytes.empty()) {
          bytes[below(bytes.size())] ^= static_cast<std::uint8_t>(1U << below(8));
        }
        break;
      case 2:
        if (!bytes.empty()) bytes[below(bytes.size())] = static_cast<std::uint8_t>(random());
        break;
      case 3:
        bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(below(bytes.size() + 1)),
                     below(64) + 1, static_cast<std::uint8_t>(random()));
        break;
      default:
        bytes.insert(bytes.end(), other.begin() + static_cast<std::ptrdiff_t>(below(other.size())),
                     other.end());
    }
  }
  if (bytes.size() > 4096) bytes.resize(4096);
  return bytes;
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t runs = 20'000;
  std::vector<Bytes> inputs{Bytes{}};
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--runs" && i + 1 < argc) {
      runs = std::strtoul(argv[++i], nullptr, 10);
      continue;
    }
    for (Bytes& input : read_corpus(argument)) inputs.push_back(std::move(input));
  }
  if (inputs.size() < 2) {
    std::fprintf(stderr, "replay: no corpus files in the folders named\n");
    return 2;
  }
  for (const Bytes& input : inputs) LLVMFuzzerTestOneInput(input.data(), input.size());
  std::mt19937_64 random{1};
  for (std::size_t run = 0; run < runs; ++run) {
    const Bytes input = mutate(inputs, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%zu corpus files and %zu mutations replayed\n", inputs.size() - 1, runs);
  return 0;
}
