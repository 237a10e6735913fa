// What the filer reads back: request records, reply slots, exports, handles.

#include <string_view>

#include "base/check.h"
#include "filer/exports.h"
#include "handles.h"
#include "input.h"
#include "mutation_reply.h"
#include "record.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace duet;         // NOLINT: one small file
  using namespace duet::filer;  // NOLINT
  fuzz::Input input(data, size);
  const auto what = input.take<std::uint8_t>() % 4;
  if (what == 0) {
    const ConstBytes body = input.rest();
    ConstBytes piece;
    const Result<Record> record = decode_record(body, piece);
    if (record.ok()) {
      // What is taken is what would be written again.
      const RecordBytes again = encode_record(record.value());
      DUET_CHECK(same_bytes(bytes_of(again), body.first(sizeof(again))));
    }
  } else if (what == 1) {
    const auto slot = input.take<ReplySlot>();
    const Result<MutationReply> reply = decode_reply(slot);
    if (reply.ok()) {
      DUET_CHECK(decode_reply(encode_reply(reply.value())).ok());
    }
  } else if (what == 2) {
    const ConstBytes rest = input.rest();
    const std::string_view text(reinterpret_cast<const char*>(rest.data()), rest.size());
    const Result<ExportTable> table = decode_exports(text);
    if (table.ok()) {
      const Result<ExportTable> again = decode_exports(encode(table.value()));
      DUET_CHECK(again.ok() && again.value() == table.value());
    }
    static_cast<void>(parse_client(text).ok());
  } else {
    const HandleCodec codec(0, {1, 2});
    DUET_CHECK(!codec.decode(input.rest()).ok());  // nobody guesses a MAC
  }
  return 0;
}
