// Oracle: what clients were told, and the complaint when the pair does not keep it.
//
// A filer is 16 registers; each write gets the next sequence when it is applied.
//   I5, I6   an opening finds every acknowledged sequence           opened()
//   I10      no write of an epoch lands after a newer was opened    landed()
//   I11      a reply reflects everything acknowledged before the request began, and nobody replies
//            in an older epoch than another did before              replied()

#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>

namespace duet::pair {

inline constexpr std::uint32_t kKeys = 16;

struct Register {
  std::uint64_t value = 0;
  std::uint64_t sequence = 0;  // of the write that set it
  friend bool operator==(const Register&, const Register&) = default;
};
using Registers = std::array<Register, kKeys>;

class Oracle {
 public:
  struct Filer {
    Registers acknowledged{};  // the newest that a client was told
    std::uint64_t opened = 0;  // epochs
    std::uint64_t answered = 0;
    std::map<std::uint64_t, std::uint64_t> writers;  // epoch: who wrote in it
    std::uint64_t replies = 0;
  };

  [[nodiscard]] Filer& filer(std::uint32_t number) { return filers_[number]; }
  [[nodiscard]] const std::string& complaint() const { return complaint_; }
  void complain(const std::string& what) {
    if (complaint_.empty()) {
      complaint_ = what;
    }
  }

  // Behind the fence; `image` is what it will serve.  An opening that slept while a newer one
  // overtook it holds what was true before: it may neither write nor reply any more, which landed()
  // and replied() check.
  void opened(std::uint32_t number, std::uint64_t epoch, const Registers& image) {
    Filer& filer = filers_[number];
    if (epoch < filer.opened) {
      return;
    }
    if (forgives_[number]) {
      forgives_[number] = false;
      filer.acknowledged = image;
    }
    for (std::uint32_t key = 0; key < kKeys; ++key) {
      const Register& told = filer.acknowledged[key];
      const bool lost = image[key].sequence < told.sequence ||
                        (image[key].sequence == told.sequence && image[key].value != told.value);
      if (lost) {
        complain("I5: filer " + std::to_string(number) + " opened in epoch " +
                 std::to_string(epoch) + " without sequence " + std::to_string(told.sequence) +
                 " that a client was told (key " + std::to_string(key) + " has " +
                 std::to_string(image[key].sequence) + ")");
      }
    }
  }
  void opening(std::uint32_t number, std::uint64_t epoch) {
    filers_[number].opened = std::max(filers_[number].opened, epoch);
  }

  void landed(std::uint32_t number, std::uint64_t epoch, std::uint64_t writer) {
    Filer& filer = filers_[number];
    if (epoch < filer.opened) {
      complain("I10: a write of epoch " + std::to_string(epoch) + " landed on filer " +
               std::to_string(number) + " after epoch " + std::to_string(filer.opened) +
               " was opened");
    }
    const auto [at, first] = filer.writers.emplace(epoch, writer);
    if (!first && at->second != writer) {
      complain("I10: two writers in epoch " + std::to_string(epoch));
    }
  }

  [[nodiscard]] Register before(std::uint32_t number, std::uint32_t key) const {
    return filers_[number].acknowledged[key];
  }
  // `told` is what the reply says of the key; `least` what was acknowledged when the request began.
  void replied(std::uint32_t number, std::uint64_t epoch, std::uint32_t key, const Register& told,
               const Register& least) {
    Filer& filer = filers_[number];
    ++filer.replies;
    if (epoch < filer.answered) {
      complain("I11: filer " + std::to_string(number) + " answered in epoch " +
               std::to_string(epoch) + " after it had answered in " +
               std::to_string(filer.answered));
    }
    filer.answered = epoch;
    if (told.sequence < least.sequence) {
      complain("I11: a stale read of filer " + std::to_string(number));
    }
    if (told.sequence > filer.acknowledged[key].sequence) {
      filer.acknowledged[key] = told;
    }
  }

  // An owner record was written to a disk (rule 3).
  struct Owner {
    std::uint32_t owner = 0;
    std::uint64_t incarnation = 0;
    std::uint64_t epoch = 0;
    friend bool operator==(const Owner&, const Owner&) = default;
  };
  void recorded(std::size_t disk, std::uint64_t generation, const std::array<Owner, 2>& owners) {
    if (generation < generation_) {
      ++stale_swaps;  // it was under way when the record moved: nobody may believe it
      return;
    }
    if (generation == generation_ && disk != record_disk_ && recorded_) {
      complain("I10: two owner records of one generation");
    }
    for (std::size_t filer = 0; filer < owners.size() && recorded_; ++filer) {
      const bool lost =
          owners[filer].epoch < owners_[filer].epoch ||
          (owners[filer].epoch == owners_[filer].epoch && !(owners[filer] == owners_[filer]));
      if (lost) {
        complain("I10: the owner record forgot who owns filer " + std::to_string(filer));
      }
    }
    recorded_ = true;
    generation_ = generation;
    record_disk_ = disk;
    owners_ = owners;
  }
  std::uint64_t stale_swaps = 0;

  // A forced takeover may lose what only the partner had.
  void forgive(std::uint32_t number) { forgives_[number] = true; }

 private:
  std::array<Filer, 2> filers_;
  std::array<bool, 2> forgives_{};
  bool recorded_ = false;
  std::uint64_t generation_ = 0;
  std::size_t record_disk_ = 0;
  std::array<Owner, 2> owners_{};
  std::string complaint_;
};

}  // namespace duet::pair
