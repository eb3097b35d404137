// An object of one of several classes, which are called through their base.
#pragma once

#include <memory>
#include <tuple>
#include <utility>

namespace libipc::stream {

template <class Base, class... Kinds>
class one_of {
  public:
    template <class Kind, class... Arguments>
    void make(Arguments &&...arguments) {
        auto &place = std::get<std::unique_ptr<Kind>>(kinds_);
        place = std::make_unique<Kind>(std::forward<Arguments>(arguments)...);
        it_ = place.get();
    }
    Base *operator->() const { return it_; }
    Base &operator*() const { return *it_; }

    template <class Archive>
    void hand_over(Archive &a) {
        std::apply([&](auto &...each) { a(each...); }, kinds_);
        a.rebuilt(it_);
        std::apply([&](auto &...each) { ((each ? void(it_ = each.get()) : void()), ...); }, kinds_);
    }

  private:
    std::tuple<std::unique_ptr<Kinds>...> kinds_;  // at most one is there
    Base *it_ = nullptr;
};

}  // namespace libipc::stream
