// Text for terminals: strings from elsewhere made harmless and brought to a width, figures in few characters.
// Widths are those of the C library's wcwidth, which ncurses uses too: they take a UTF-8 LC_CTYPE.
// Thread-safety: any thread, while nobody changes the locale.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vmmctl {

// What the terminal shows.
enum class Charset { ascii, utf8 };
// From LC_CTYPE.
Charset terminal_charset();

// Bytes that are no UTF-8 become U+FFFD.
std::string valid_utf8(std::string_view text);
void append_utf8(std::string& text, char32_t code_point);
// What is not printable ASCII becomes '?'.
std::string plain_ascii(std::string_view text);
// What moves a cursor, has no width or no meaning is replaced or left out: any string can be put on a screen.
std::string printable(std::string_view text, Charset charset);

// '%', the ASCII characters of `also` and control characters, those of C1 too, become %XX, byte by byte of UTF-8: what
// is left can go anywhere, and can be told from what was something else. Bytes that are no UTF-8 become U+FFFD.
std::string percent_escaped(std::string_view text, std::string_view also);

// Columns that printable text takes.
std::size_t width_of(std::string_view text);
enum class Align { left, right };
// Exactly `width` columns: cut, with a mark, or filled with spaces.
std::string fitted(std::string_view text, std::size_t width, Align align, Charset charset);

// Lines of at most `width` columns, each with `indent` before it; words are kept whole.
std::string wrapped(const std::string& text, const std::string& indent, std::size_t width);

// Bytes in at most five characters: "0", "640K", "1.25G". K is 1024.
std::string bytes_text(std::uint64_t bytes);
// The same for a rate: bytes a second.
std::string rate_text(double bytes_per_second);
// A count a second, or another number: "0", "0.42", "37.5", "1234", "12.3k".
std::string count_text(double value);
// "1.42 ms" and the like.
std::string duration_text(std::uint64_t nanoseconds);
// "50 %"; "-" without a whole.
std::string percent_text(std::uint64_t part, std::uint64_t whole);
// Hours, minutes, seconds of local time, from milliseconds since 1970.
std::string clock_text(std::int64_t wall_time_ms);

}  // namespace vmmctl
