// What a group must hold, whatever happened: for each block, the values that a read may give.
//
//   a write begins           its value, too
//   it is acknowledged       its value alone
//   a read gave a value      that alone, if no write is under way
//   its node crashed         in place: as it was; fresh: anything; answered before it was at all
//                            nodes, and not flushed since: the value before, too
//
// A block shows its value in all its bytes, so half of one is never taken for another.

#pragma once

#include <iostream>
#include <set>

#include "raid/codec.h"
#include "world.h"

namespace duet::raid::testing {

class Model {
 public:
  explicit Model(World& world)
      : world_(world),
        blocks_(world.options_.geometry.block_count()),
        unflushed_(world.options_.nodes),
        promised_(world.options_.nodes),
        scope_(world.scheduler) {
    for (Block& block : blocks_) {
      block.possible = {0};
    }
  }

  // Blocks from `block` on, `count` of them, get values of their own.  REQUIRES: none of them is
  // being written.
  using Done = std::function<void(const Status&)>;
  void begin_write(std::size_t node, std::uint64_t block, std::size_t count, WriteKind kind,
                   Done done) {
    auto op = std::make_shared<Operation>(count, ++last_shape_);
    for (std::size_t i = 0; i < count; ++i) {
      Block& at = blocks_[block + i];
      DUET_CHECK(!at.writing);
      at.writing = true;
      at.dead = false;
      op->values.push_back(++last_value_);
      at.possible.insert(last_value_);
      fill_block(op->blocks[i], last_value_);
      if (kind == WriteKind::kFresh) {
        at.fresh = true;
      }
    }
    op->node = node;
    op->block = block;
    op->kind = kind;
    op->answer = kind == WriteKind::kInPlace ? answer : Answer::kWritten;
    op->done = std::move(done);
    op->number = ++last_operation_;
    under_way_[op->number] = op;
    world_.processes[node]->scope.spawn(write_task(*this, op));
  }
  void begin_read(std::size_t node, std::uint64_t block, std::size_t count, Done done) {
    auto op = std::make_shared<Operation>(count, ++last_shape_);
    op->node = node;
    op->block = block;
    op->done = std::move(done);
    note_allowed(*op);
    world_.processes[node]->scope.spawn(read_task(*this, op));
  }
  // As the layer above does whose checksum says that a block is wrong.
  void begin_read_other(std::size_t node, std::uint64_t block, std::uint32_t attempt, Done done) {
    auto op = std::make_shared<Operation>(1, 0);
    op->node = node;
    op->block = block;
    op->attempt = attempt;
    op->done = std::move(done);
    note_allowed(*op);
    world_.processes[node]->scope.spawn(read_task(*this, op));
  }
  void begin_flush(std::size_t node, Done done) {
    world_.processes[node]->scope.spawn(flush_task(*this, node, false, std::move(done)));
  }
  void begin_close(std::size_t node, Done done) {
    world_.processes[node]->scope.spawn(flush_task(*this, node, true, std::move(done)));
  }
  [[nodiscard]] bool writing(std::uint64_t block, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      if (blocks_[block + i].writing) {
        return true;
      }
    }
    return false;
  }

  // What a stripe holds is not needed any more.
  void discard(std::uint64_t stripe) {
    const std::uint64_t width = world_.options_.geometry.stripe_blocks();
    if (writing(stripe * width, width)) {
      return;
    }
    for (std::uint64_t i = stripe * width; i < (stripe + 1) * width; ++i) {
      blocks_[i].possible.clear();
      blocks_[i].anything = true;
      blocks_[i].dead = true;
      ++blocks_[i].version;
    }
  }
  [[nodiscard]] bool needed(std::uint64_t first, std::uint64_t count) const {
    const auto first_block = blocks_.begin() + static_cast<std::ptrdiff_t>(first);
    return std::any_of(first_block, first_block + static_cast<std::ptrdiff_t>(count),
                       [](const Block& block) { return !block.dead; });
  }
  // The group has more blocks now; they are zero.
  void grow(std::uint64_t blocks) {
    while (blocks_.size() < blocks) {
      blocks_.emplace_back().possible = {0};
    }
  }

  // To their end.
  void write(std::size_t node, std::uint64_t block, std::size_t count, WriteKind kind) {
    bool over = false;
    begin_write(node, block, count, kind, [&over](const Status& status) {
      EXPECT_TRUE(status.ok());
      over = true;
    });
    ASSERT_TRUE(world_.run_until([&over] { return over; })) << "a write does not end";
  }
  void fill(std::size_t node) {
    const std::size_t width = world_.options_.geometry.stripe_blocks();
    for (std::uint64_t at = 0; at < blocks_.size(); at += width) {
      write(node, at, std::min<std::size_t>(width, blocks_.size() - at), WriteKind::kInPlace);
    }
  }
  // Reads everything.
  void verify(std::size_t node) {
    const std::size_t width = world_.options_.geometry.stripe_blocks();
    std::size_t left = 0;
    for (std::uint64_t at = 0; at < blocks_.size(); at += width) {
      ++left;
      begin_read(node, at, std::min<std::size_t>(width, blocks_.size() - at),
                 [&left](const Status& status) {
                   EXPECT_TRUE(status.ok()) << (status.ok() ? "" : status.error().context);
                   --left;
                 });
    }
    ASSERT_TRUE(world_.run_until([&left] { return left == 0; })) << "a read does not end";
  }

  // The node's fresh writes that were not flushed may be lost.
  void lose_unflushed(std::size_t node) {
    for (const auto& [block, before] : std::exchange(promised_[node], {})) {
      blocks_[block].possible.insert(before.possible.begin(), before.possible.end());
      blocks_[block].anything = blocks_[block].anything || before.anything;
      ++blocks_[block].version;
    }
    for (const std::uint64_t block : unflushed_[node]) {
      blocks_[block].anything = true;
    }
    unflushed_[node].clear();
  }
  // To the group it has crashed, whatever it still answers to its users.
  void shut_out(std::size_t node) {
    shut_out_.insert(node);
    lose_unflushed(node);
    world_.shut_out(node);
    lose_unflushed(node);
  }
  void kill(std::size_t node) {
    world_.kill(node);
    lose_unflushed(node);
    shut_out_.erase(node);
    std::erase_if(under_way_, [&](const auto& entry) {
      const Operation& op = *entry.second;
      if (op.node != node) {
        return false;
      }
      for (std::size_t i = 0; i < op.values.size(); ++i) {
        Block& at = blocks_[op.block + i];
        at.writing = false;
        ++at.version;
        at.anything = at.anything || op.kind == WriteKind::kFresh;
      }
      return true;
    });
  }
  // REQUIRES: every node is dead.
  void lose_power() {
    for (const auto& disk : world_.disks) {
      disk->lose_power(world_.scheduler.random());
    }
    for (const auto& memory : world_.memories) {
      memory->lose_power(world_.scheduler.random());
    }
  }

  // On the disks themselves: check data matches; and the data is what reads gave.
  // REQUIRES: everything is flushed, nothing is under way.
  void verify_disks() {
    const GroupLabel label = world_.present_labels().front();
    for (std::uint64_t s = 0; s < label.stripes; ++s) {
      const std::optional<PlacedStripe> of = stripe_in(label, Stripe{s});
      if (!of.has_value()) {
        continue;
      }
      const Stripe stripe{s};
      Geometry g = geometry_of(label);
      g.disks = of->disks;
      const Codec codec(g);
      ColumnSet there = 0;
      for (std::uint32_t disk = 0; disk < g.disks; ++disk) {
        const bool good = static_cast<DiskState>(label.members[disk].state) == DiskState::kInSync &&
                          (!world_.failed_disks.contains(world_.member(label, disk)) ||
                           world_.only_seen_failed.contains(world_.member(label, disk)));
        there |= good ? one(g.column_of(stripe, disk)) : 0;
      }
      ASSERT_GE(std::popcount(there), static_cast<int>(g.data_columns()));
      for (std::uint32_t row = 0; row < g.chunk_blocks; ++row) {
        verify_row(codec, label, *of, row, there);
      }
    }
  }

  [[nodiscard]] std::size_t block_count() const { return blocks_.size(); }
  Answer answer = Answer::kWritten;  // when writes in place are answered
  std::uint64_t reads = 0;
  std::uint64_t writes = 0;

 private:
  struct Block {
    std::set<std::uint64_t> possible;
    bool anything = false;  // no value of ours, perhaps
    bool fresh = false;     // a fresh write is under way
    bool writing = false;
    bool dead = false;          // nobody has written it since it was discarded
    std::uint64_t version = 0;  // changes with each write that begins or ends
  };
  struct Operation {
    // The caller's memory is in one piece, or in blocks that are in any order, or in two halves.
    Operation(std::size_t count, std::uint64_t how) : buffer(count) {
      for (std::size_t i = 0; i < count; ++i) {
        const std::array<std::size_t, 3> at = {i, count - 1 - i, (i + count / 2) % count};
        blocks.push_back(buffer.blocks(at[how % 3], 1));
      }
      parts = how % 3 == 0 ? std::vector<MutableBytes>{buffer.bytes()} : blocks;
    }
    std::uint64_t number = 0;
    std::size_t node = 0;
    std::uint64_t block = 0;
    std::optional<std::uint32_t> attempt;  // a way to compute it
    WriteKind kind = WriteKind::kInPlace;
    Answer answer = Answer::kWritten;
    Buffer buffer;
    std::vector<MutableBytes> blocks;  // of it, in the order in which the group sees them
    std::vector<MutableBytes> parts;
    std::vector<std::uint64_t> values;
    std::vector<std::set<std::uint64_t>> allowed;
    std::vector<bool> anything;
    std::vector<std::uint64_t> versions;
    Done done;
  };

  // What it may give is what is possible at any time while it runs.
  void note_allowed(Operation& op) {
    for (std::size_t i = 0; i < op.blocks.size(); ++i) {
      const Block& at = blocks_[op.block + i];
      op.allowed.push_back(at.possible);
      op.anything.push_back(at.anything || at.fresh);
      op.versions.push_back(at.version);
    }
  }
  static void fill_block(MutableBytes block, std::uint64_t value) {
    for (std::size_t at = 0; at < block.size(); at += 8) {
      store(block, at, value == 0 ? 0 : value * 0x9E37'79B9'7F4A'7C15U + at);
    }
  }
  // Which of our values all of a block shows; none: not one alone.
  static std::optional<std::uint64_t> shows(ConstBytes block,
                                            const std::set<std::uint64_t>& values) {
    const Buffer expected(1);
    for (const std::uint64_t value : values) {
      fill_block(expected.bytes(), value);
      if (same_bytes(block, expected.bytes())) {
        return value;
      }
    }
    return std::nullopt;
  }

  static std::string what_is(ConstBytes block, const std::set<std::uint64_t>& allowed) {
    std::string text = "allowed";
    for (const std::uint64_t value : allowed) {
      text += " " + std::to_string(value);
    }
    for (std::uint64_t value = 0; value < 100'000; ++value) {
      if (shows(block, {value}).has_value()) {
        return text + ", is " + std::to_string(value);
      }
    }
    return text + ", is none of all";
  }

  // Answered.  An early answer can be taken back by its node's end.
  void note_answer(const Operation& op, std::size_t i) {
    const std::uint64_t block = op.block + i;
    Block& at = blocks_[block];
    const bool shut_out = shut_out_.contains(op.node);
    if (op.answer == Answer::kPseudoSynchronous || op.answer == Answer::kAsynchronous) {
      Before& before = promised_[op.node][block];
      before.possible.insert(at.possible.begin(), at.possible.end());
      before.anything = before.anything || at.anything;
      if (shut_out) {
        return;
      }
    } else {
      for (auto& promised : promised_) {
        promised.erase(block);
      }
    }
    at.possible = {op.values[i]};
    at.anything = op.kind == WriteKind::kFresh && shut_out;
  }

  static Task<void> write_task(Model& model, std::shared_ptr<Operation> op) {
    const Status status = co_await model.world_.processes[op->node]->group->write(
        op->block, op->parts, op->kind, op->answer);
    ++model.writes;
    model.under_way_.erase(op->number);
    for (std::size_t i = 0; i < op->values.size(); ++i) {
      Block& at = model.blocks_[op->block + i];
      at.writing = false;
      at.fresh = false;
      ++at.version;
      if (status.ok()) {
        model.note_answer(*op, i);
        if (op->kind == WriteKind::kFresh) {
          model.unflushed_[op->node].insert(op->block + i);
        } else {
          for (std::set<std::uint64_t>& unflushed : model.unflushed_) {
            unflushed.erase(op->block + i);
          }
        }
      } else {
        at.anything = at.anything || op->kind == WriteKind::kFresh;
      }
    }
    op->done(status);
  }
  static Task<void> read_task(Model& model, std::shared_ptr<Operation> op) {
    Group& group = *model.world_.processes[op->node]->group;
    Task<Status> task = op->attempt.has_value()
                            ? group.read_other(op->block, *op->attempt, op->buffer.bytes())
                            : group.read(op->block, op->parts);
    const Status status = co_await std::move(task);
    ++model.reads;
    for (std::size_t i = 0; status.ok() && i < op->allowed.size(); ++i) {
      Block& at = model.blocks_[op->block + i];
      std::set<std::uint64_t> allowed = op->allowed[i];
      allowed.insert(at.possible.begin(), at.possible.end());
      const auto value = shows(op->blocks[i], allowed);
      const bool still = at.version == op->versions[i] && !at.writing;
      if (!value.has_value()) {
        EXPECT_TRUE(op->anything[i] || at.anything || at.fresh || !still)
            << "block " << op->block + i << " read at node " << op->node
            << " holds neither the old nor the new value, " << what_is(op->blocks[i], allowed);
      } else if (still && !at.anything) {
        at.possible = {*value};
      }
    }
    op->done(status);
  }
  static Task<void> flush_task(Model& model, std::size_t node, bool close, Done done) {
    // What was written before it began; a block that is written again meanwhile is not covered.
    std::map<std::uint64_t, std::uint64_t> covered;
    for (const std::uint64_t block : model.unflushed_[node]) {
      covered[block] = model.blocks_[block].version;
    }
    for (const auto& [block, before] : model.promised_[node]) {
      covered[block] = model.blocks_[block].version;
    }
    Group& group = *model.world_.processes[node]->group;
    Task<Status> task = close ? group.close() : group.flush();
    const Status status = co_await std::move(task);
    if (status.ok()) {
      for (const auto& [block, version] : covered) {
        if (model.blocks_[block].version == version) {
          model.unflushed_[node].erase(block);
          model.promised_[node].erase(block);
        }
      }
    }
    done(status);
  }

  // The block of the group in this cell; none: it lies elsewhere.
  static std::optional<std::uint64_t> block_in(const GroupLabel& label, const PlacedStripe& of,
                                               Cell cell) {
    Geometry g = geometry_of(label);
    g.disks = of.disks;
    const std::uint32_t first = cell.column * g.chunk_blocks + cell.row;
    const std::uint64_t block = static_cast<std::uint64_t>(of.stripe) * g.stripe_blocks() + first;
    return site_of(label, block).of == of ? std::optional<std::uint64_t>(block) : std::nullopt;
  }
  void verify_row(const Codec& codec, const GroupLabel& label, const PlacedStripe& stripe,
                  std::uint32_t row, ColumnSet there) {
    Geometry g = geometry_of(label);
    g.disks = stripe.disks;
    bool counts = !is_loose(label, stripe.stripe);
    for (std::uint32_t column = 0; column < g.data_columns(); ++column) {
      const std::optional<std::uint64_t> block = block_in(label, stripe, {column, row});
      counts =
          counts || (block.has_value() && *block < blocks_.size() && !blocks_[*block].anything);
    }
    if (!counts) {
      return;
    }
    const Buffer buffer(g.disks);
    Columns columns{};
    ColumnSet source = 0;
    for (std::uint32_t column = 0; column < g.disks; ++column) {
      columns[column] = buffer.blocks(column, 1).data();
      if ((there & one(column)) != 0 &&
          std::popcount(source) < static_cast<int>(g.data_columns())) {
        copy_bytes(world_.cell(label, stripe, column, row), {columns[column], kBlockBytes});
        source |= one(column);
      }
    }
    codec.decode(columns, source, first(g.disks) & ~source, kBlockBytes);
    for (std::uint32_t column = 0; column < g.disks; ++column) {
      if ((there & one(column)) != 0) {
        ASSERT_TRUE(same_bytes(world_.cell(label, stripe, column, row), buffer.blocks(column, 1)))
            << "I14: stripe " << static_cast<std::uint64_t>(stripe.stripe) << " on " << stripe.disks
            << " disks, row " << row << ", column " << column << " does not match the others";
      }
    }
    for (std::uint32_t column = 0; column < g.data_columns(); ++column) {
      const std::optional<std::uint64_t> block = block_in(label, stripe, {column, row});
      if (!block.has_value()) {
        continue;
      }
      const Block room = {.possible = {0}};
      const Block& at = *block < blocks_.size() ? blocks_[*block] : room;
      ASSERT_TRUE(at.anything || at.writing ||
                  shows(buffer.blocks(column, 1), at.possible).has_value())
          << "block " << *block << " on the disks";
    }
  }

  World& world_;
  std::vector<Block> blocks_;
  std::vector<std::set<std::uint64_t>> unflushed_;  // fresh writes, by node
  // Of writes that were answered early, by node: what the blocks may have held before.
  struct Before {
    std::set<std::uint64_t> possible;
    bool anything = false;
  };
  std::vector<std::map<std::uint64_t, Before>> promised_;
  std::set<std::size_t> shut_out_;
  std::map<std::uint64_t, std::shared_ptr<Operation>> under_way_;
  std::uint64_t last_value_ = 0;
  std::uint64_t last_operation_ = 0;
  std::uint64_t last_shape_ = 0;
  TaskScope scope_;
};

}  // namespace duet::raid::testing
