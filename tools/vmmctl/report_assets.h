// The files of tools/vmmctl/report, as the build puts them into the program.
#pragma once

#include <string_view>

namespace vmmctl::assets {

extern const std::string_view kPageHtml, kPageCss, kChartsJs, kPageJs;

}  // namespace vmmctl::assets
