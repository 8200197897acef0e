// The HTML report: one file with inline SVG. The page fetches nothing.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "client/load/report.h"

namespace arenad::load {
namespace {

constexpr int kWidth = 460, kHeight = 180, kLeft = 70, kBottom = 24;

std::string number(double n) {
  char text[32];
  if (n >= 1e6)
    std::snprintf(text, sizeof text, "%.2f M", n / 1e6);
  else if (n >= 1e3)
    std::snprintf(text, sizeof text, "%.1f k", n / 1e3);
  else
    std::snprintf(text, sizeof text, "%.0f", n);
  return text;
}

std::string escaped(const std::string& s) {
  std::string out;
  for (const char c : s) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

// A line plot of y over equally spaced x. Labels, when given, stand below the points.
std::string plot(const std::string& title, const std::vector<double>& y,
                 const std::vector<std::string>& labels, bool logarithmic,
                 const std::string& unit) {
  if (y.empty()) return {};
  const auto scale = [&](double v) { return logarithmic ? std::log10(std::max(v, 1.0)) : v; };
  const double top = std::max(scale(*std::max_element(y.begin(), y.end())) * 1.05, 1e-9);
  std::string points, marks;
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double px =
        kLeft +
        (kWidth - kLeft - 10) *
            (y.size() == 1 ? 0.5 : static_cast<double>(i) / static_cast<double>(y.size() - 1));
    const double py = kHeight - kBottom - (kHeight - kBottom - 14) * scale(y[i]) / top;
    char text[256];
    std::snprintf(text, sizeof text, "%.1f,%.1f ", px, py);
    points += text;
    const std::string label = i < labels.size() ? labels[i] : std::to_string(i + 1);
    std::snprintf(text, sizeof text,
                  "<circle cx='%.1f' cy='%.1f' r='3'><title>%s: %s %s</title></circle>", px, py,
                  label.c_str(), number(y[i]).c_str(), unit.c_str());
    marks += text;
    if (i < labels.size() || y.size() <= 12) {
      std::snprintf(text, sizeof text, "<text x='%.1f' y='%d' text-anchor='middle'>%s</text>", px,
                    kHeight - 6, label.c_str());
      marks += text;
    }
  }
  char frame[512];
  std::snprintf(frame, sizeof frame,
                "<figure><figcaption>%s</figcaption><svg viewBox='0 0 %d %d' width='%d'><line "
                "x1='%d' y1='%d' x2='%d' y2='%d'/>"
                "<text x='%d' y='20' text-anchor='end'>%s</text><polyline points='",
                title.c_str(), kWidth, kHeight, kWidth, kLeft, kHeight - kBottom, kWidth,
                kHeight - kBottom, kLeft - 6,
                number(*std::max_element(y.begin(), y.end())).c_str());
  return frame + points + "'/>" + marks + "</svg></figure>";
}

}  // namespace

std::string to_html(const Options& options, const std::vector<WorkloadResult>& results,
                    const Conservation& conservation) {
  std::string out =
      "<!doctype html><html lang='en'><meta "
      "charset='utf-8'><title>arena-load</title><style>body{font:14px system-ui,sans-serif;"
      "margin:2em;max-width:1000px}table{border-collapse:collapse}td,th{padding:.25em "
      ".7em;text-align:right;border-bottom:1px solid #ccc}"
      "figure{display:inline-block;margin:1em 1em 0 "
      "0}polyline{fill:none;stroke:#0a6;stroke-width:2}circle{fill:#0a6}line{stroke:#999}"
      "text{font-size:11px;fill:#444}.bad{color:#b00}</style><h1>arena-load</h1><p>seed " +
      std::to_string(options.seed) +
      "</p><table><tr><th>workload<th>mode<th>blocks<th>blocks/s<th>calls";
  for (const char* name : kQuantileNames) out += std::string("<th>") + name;
  out += "<th>max<th>latency, us, of a</tr>";
  for (const WorkloadResult& r : results) {
    out += "<tr><td>" + escaped(r.workload) + "<td>" + escaped(r.mode) + "<td>" +
           std::to_string(r.operations) + "<td>" + number(r.ops_per_second()) + "<td>" +
           (r.calls < 0 ? "-" : std::to_string(r.calls));
    char text[32];
    for (const double q : kQuantiles) {
      std::snprintf(text, sizeof text, "<td>%.2f",
                    static_cast<double>(r.latency->quantile(q)) / 1e3);
      out += text;
    }
    std::snprintf(text, sizeof text, "<td>%.2f", static_cast<double>(r.latency->max()) / 1e3);
    out += text + std::string("<td>") + escaped(r.unit) + "</tr>";
  }
  out += "</table>";
  for (const WorkloadResult& r : results) {
    out += "<h2>" + escaped(r.workload) + " (" + escaped(r.mode) + ")</h2>";
    if (!r.failure.empty()) out += "<p class='bad'>" + escaped(r.failure) + "</p>";
    out += plot("blocks in each second", {r.per_second.begin(), r.per_second.end()}, {}, false,
                "blocks");
    std::vector<double> latency;
    std::vector<std::string> labels(std::begin(kQuantileNames), std::end(kQuantileNames));
    for (const double q : kQuantiles)
      latency.push_back(static_cast<double>(r.latency->quantile(q)));
    out += plot("latency by percentile, ns, logarithmic", latency, labels, true, "ns");
  }
  out += "<h2>Conservation</h2>";
  if (conservation.ok()) out += "<p>Holds: nothing lost, nothing doubled, nothing left held.</p>";
  for (const std::string& p : conservation.problems) out += "<p class='bad'>" + escaped(p) + "</p>";
  return out + "</html>\n";
}

}  // namespace arenad::load
