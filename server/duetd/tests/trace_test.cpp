#include "trace.h"

#include <gtest/gtest.h>

namespace duet::daemon {
namespace {

TEST(Trace, PlainValuesStandAsTheyAre) {
  EXPECT_EQ(trace_line(Level::kInfo, "serving", {{"filer", "a"}, {"port", "20049"}}),
            "level=info event=serving filer=a port=20049");
}

TEST(Trace, NoValueCanPretendToBeAnotherKeyOrLine) {
  EXPECT_EQ(trace_line(Level::kError, "e", {{"m", "a b=c \"d\"\nlevel=info"}, {"n", ""}}),
            "level=error event=e m=\"a b=c \\\"d\\\"\\nlevel=info\" n=\"\"");
  EXPECT_EQ(trace_line(Level::kWarning, "e", {{"m", "\x1b[1m"}}),
            "level=warning event=e m=\"\\x1b[1m\"");
}

}  // namespace
}  // namespace duet::daemon
