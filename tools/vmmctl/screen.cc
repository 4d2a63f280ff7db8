#include "screen.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#define NCURSES_NOMACROS 1  // its macros are words such as `clear`
#define NCURSES_WIDECHAR 1
#include <curses.h>

namespace vmmctl {
namespace {

// Pairs of colours.
enum Pair : short {
  kGreen = 1,
  kYellow,
  kRed,
  kCyan,
  kBlue,
  kMagenta,
  kTitle,
  kHeading,
  kAlarm,
};

bool colourful = false;

void start_colours() {
  const char* none = std::getenv("NO_COLOR");
  if ((none != nullptr && *none != '\0') || !has_colors() || start_color() != OK) return;
  colourful = true;
  const short background = use_default_colors() == OK ? -1 : static_cast<short>(COLOR_BLACK);
  init_pair(kGreen, COLOR_GREEN, background);
  init_pair(kYellow, COLOR_YELLOW, background);
  init_pair(kRed, COLOR_RED, background);
  init_pair(kCyan, COLOR_CYAN, background);
  init_pair(kBlue, COLOR_BLUE, background);
  init_pair(kMagenta, COLOR_MAGENTA, background);
  init_pair(kTitle, COLOR_WHITE, COLOR_BLUE);
  init_pair(kHeading, COLOR_BLACK, COLOR_CYAN);
  init_pair(kAlarm, COLOR_WHITE, COLOR_RED);
}

// Attributes alone say enough on a terminal without colours.
attr_t attributes(Style style) {
  const auto colour = [](Pair pair, attr_t with, attr_t without) {
    return colourful ? static_cast<attr_t>(COLOR_PAIR(pair)) | with : without;
  };
  switch (style) {
    case Style::plain: return A_NORMAL;
    case Style::dim: return A_DIM;
    case Style::bold: return A_BOLD;
    case Style::title: return colour(kTitle, A_BOLD, A_REVERSE);
    case Style::heading: return colour(kHeading, A_NORMAL, A_REVERSE);
    case Style::sorted: return colour(kTitle, A_BOLD, A_REVERSE | A_BOLD | A_UNDERLINE);
    case Style::selected: return A_REVERSE;
    case Style::good: return colour(kGreen, A_BOLD, A_BOLD);
    case Style::notice: return colour(kCyan, A_BOLD, A_BOLD);
    case Style::warning: return colour(kYellow, A_BOLD, A_BOLD);
    case Style::bad: return colour(kRed, A_BOLD, A_BOLD);
    case Style::alarm: return colour(kAlarm, A_BOLD, A_REVERSE | A_BOLD);
    case Style::guests: return colour(kBlue, A_BOLD, A_NORMAL);
    case Style::copies: return colour(kMagenta, A_BOLD, A_NORMAL);
    case Style::overhead: return colour(kYellow, A_NORMAL, A_NORMAL);
    case Style::unused: return colour(kGreen, A_NORMAL, A_NORMAL);
    case Style::withheld: return colour(kRed, A_NORMAL, A_NORMAL);
  }
  return A_NORMAL;
}

}  // namespace

Result<Screen> Screen::create() {
  if (::isatty(STDIN_FILENO) == 0 || ::isatty(STDOUT_FILENO) == 0)
    return fail(FailureKind::usage, "vmmctl top takes a terminal", "without one: vmmctl top --batch");
  ::screen* terminal = newterm(nullptr, stdout, stdin);
  if (terminal == nullptr) {
    const char* name = std::getenv("TERM");
    return fail(FailureKind::usage, std::string("curses does not know the terminal TERM='") + (name ? name : "") + "'",
                "TERM=xterm or TERM=linux may do; without a terminal: vmmctl top --batch");
  }
  set_term(terminal);
  set_escdelay(50);
  cbreak();
  noecho();
  nonl();
  curs_set(0);
  keypad(stdscr, TRUE);
  nodelay(stdscr, TRUE);
  start_colours();
  return Screen(terminal);
}

Screen::Screen(Screen&& other) noexcept : terminal_(std::exchange(other.terminal_, nullptr)) {}

Screen::~Screen() {
  if (terminal_ == nullptr) return;
  endwin();
  delscreen(terminal_);
}

void Screen::show(const TopState& state) {
  const int height = getmaxy(stdscr);
  const int width = getmaxx(stdscr);
  if (height <= 0 || width <= 0) return;
  const Lines lines = draw(state, static_cast<std::size_t>(width), static_cast<std::size_t>(height));
  werase(stdscr);
  for (int y = 0; y < height && static_cast<std::size_t>(y) < lines.size(); ++y) {
    wmove(stdscr, y, 0);
    for (const Span& span : lines[static_cast<std::size_t>(y)].spans) {
      wattrset(stdscr, static_cast<int>(attributes(span.style)));
      waddstr(stdscr, span.text.c_str());
    }
  }
  wattrset(stdscr, A_NORMAL);
  wrefresh(stdscr);
}

std::optional<Key> Screen::key() {
  wint_t code = 0;
  const int kind = wget_wch(stdscr, &code);
  if (kind == ERR) return std::nullopt;
  using Kind = Key::Kind;
  if (kind == KEY_CODE_YES) {
    switch (code) {
      case KEY_UP: return Key{Kind::up};
      case KEY_DOWN: return Key{Kind::down};
      case KEY_LEFT: return Key{Kind::left};
      case KEY_RIGHT: return Key{Kind::right};
      case KEY_PPAGE: return Key{Kind::page_up};
      case KEY_NPAGE: return Key{Kind::page_down};
      case KEY_HOME: return Key{Kind::home};
      case KEY_END: return Key{Kind::end};
      case KEY_ENTER: return Key{Kind::enter};
      case KEY_BACKSPACE:
      case KEY_DC: return Key{Kind::backspace};
      case KEY_RESIZE: return Key{Kind::resize};
      default: return Key{Kind::character, 0};
    }
  }
  switch (code) {
    case '\r':
    case '\n': return Key{Kind::enter};
    case 27: return Key{Kind::escape};
    case 8:
    case 127: return Key{Kind::backspace};
    case 12: clearok(curscr, TRUE); return Key{Kind::resize};  // ^L: draw anew
    default: return Key{Kind::character, static_cast<char32_t>(code)};
  }
}

}  // namespace vmmctl
