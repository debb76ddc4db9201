#!/usr/bin/env python3
"""Makes C++ of the status page's files: find_page_file() of src/node/status_page.hpp.

usage: embed.py FILE... OUT.cpp. index.html is served as /, NAME as /page/NAME.
"""
import pathlib
import sys

TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8",
         ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


def main():
    *files, out = [pathlib.Path(name) for name in sys.argv[1:]]
    lines = ["// Made by embed.py.", "#include <array>", "",
             '#include "src/node/status_page.hpp"', "", "namespace driftlock {", "namespace {", ""]
    rows = []
    for number, file in enumerate(files):
        path = "/" if file.name == "index.html" else "/page/" + file.name
        data = file.read_bytes()
        values = ",".join(str(byte) for byte in data)
        lines.append(f"constexpr std::array<unsigned char, {len(data)}> kBytes{number}{{{values}}};")
        rows.append(f'    {{"{path}", "{TYPES[file.suffix]}", kBytes{number}.data(), '
                    f"kBytes{number}.size()}},")
    lines += ["struct Row {", "  std::string_view path;", "  std::string_view type;",
              "  const unsigned char* data;", "  std::size_t size;", "};",
              f"constexpr std::array<Row, {len(rows)}> kRows{{{{", *rows, "}};", "",
              "}  // namespace", "",
              "const PageFile* find_page_file(std::string_view path) {",
              "  static const auto files = [] {",
              f"    std::array<PageFile, {len(rows)}> made;",
              "    for (std::size_t i = 0; i < kRows.size(); ++i) {",
              "      made[i] = {kRows[i].path, kRows[i].type,",
              "                 {reinterpret_cast<const char*>(kRows[i].data), kRows[i].size}};",
              "    }", "    return made;", "  }();",
              "  for (const PageFile& file : files) {",
              "    if (file.path == path) return &file;", "  }",
              "  return nullptr;", "}", "", "}  // namespace driftlock", ""]
    out.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
