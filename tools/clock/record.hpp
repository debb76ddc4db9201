// driftlock clock record: the samples that this machine's clock source gives, as a node would see
// them, one a line.
#pragma once

#include <string>

namespace driftlock::cli {

struct RecordOptions {
  std::string ptp4l_events;       // where ptp4l sends its event timestamps; empty: not recorded
  std::string source = "system";  // system, chrony, or phc:/dev/ptpN
  double interval_s = 1.0;
  int count = 0;  // 0: until interrupted
  std::string out = "-";
};
[[nodiscard]] int record_command(const RecordOptions& options);

}  // namespace driftlock::cli
