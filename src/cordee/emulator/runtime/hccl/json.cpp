// A reader of JSON: values with their places, no numbers, and \u only as it stands.
#include "json.h"

#include <ctype.h>

namespace hccl {
namespace {

constexpr int kDeepest = 64;

class Reader {
  public:
    explicit Reader(const std::string &text) : text_(text) {}

    bool all(Json *made)
    {
        return value(made, 0) && (skip(), at_ == text_.size());
    }

  private:
    void skip()
    {
        while (at_ < text_.size() && isspace(static_cast<unsigned char>(text_[at_])))
            at_++;
    }

    bool take(char wanted)
    {
        skip();
        const bool there = at_ < text_.size() && text_[at_] == wanted;
        at_ += there;
        return there;
    }

    bool string(std::string *made)
    {
        if (!take('"'))
            return false;
        for (; at_ < text_.size() && text_[at_] != '"'; at_++) {
            if (text_[at_] == '\\')
                at_++;
            if (at_ < text_.size())
                *made += text_[at_];
        }
        return take('"');
    }

    bool word(std::string *made)
    {
        for (; at_ < text_.size() && (isalnum(static_cast<unsigned char>(text_[at_])) ||
                                      text_[at_] == '.' || text_[at_] == '-' || text_[at_] == '+');
             at_++)
            *made += text_[at_];
        return !made->empty();
    }

    bool list(Json *made, int depth)
    {
        made->kind = Json::Kind::kList;
        if (take(']'))
            return true;
        do {
            if (!value(&made->items.emplace_back(), depth + 1))
                return false;
        } while (take(','));
        return take(']');
    }

    bool table(Json *made, int depth)
    {
        made->kind = Json::Kind::kTable;
        if (take('}'))
            return true;
        do {
            auto &[name, field] = made->fields.emplace_back();
            if (!string(&name) || !take(':') || !value(&field, depth + 1))
                return false;
        } while (take(','));
        return take('}');
    }

    bool value(Json *made, int depth)
    {
        if (depth > kDeepest)
            return false;
        if (take('{'))
            return table(made, depth);
        if (take('['))
            return list(made, depth);
        made->kind = Json::Kind::kText;
        return at_ < text_.size() && text_[at_] == '"' ? string(&made->text) : word(&made->text);
    }

    const std::string &text_;
    size_t at_ = 0;
};

} // namespace

const Json &Json::operator[](const char *name) const
{
    static const Json none;

    for (const auto &[key, value] : fields)
        if (key == name)
            return value;
    return none;
}

bool json_read(const std::string &text, Json *made)
{
    return Reader(text).all(made);
}

} // namespace hccl
