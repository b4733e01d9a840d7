#include "tools/report/page.hpp"

#include "core/check.hpp"
#include "core/version.hpp"
#include "tools/report/html.hpp"

namespace pleat {
namespace {

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>Pleat report</title>
<style>
body { margin: 0; background: #f4f5f7; color: #1c2230; font: 15px/1.5 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; }
header { background: #14233b; color: #fff; padding: 22px 0 20px; }
header > *, main { max-width: 1120px; margin: 0 auto; padding: 0 24px; }
h1 { font-size: 25px; font-weight: 600; } h1 small { font-size: 15px; font-weight: 400; opacity: .75; margin-left: 8px; }
header nav a { color: #b9d4f5; text-decoration: none; margin-right: 18px; white-space: nowrap; }
section { background: #fff; border: 1px solid #dfe3e9; border-radius: 10px; margin: 22px 0; padding: 6px 24px 20px; }
h2 { font-size: 20px; margin: 12px 0 2px; } h2 + p.name { margin: 0 0 10px; color: #667085; font-family: ui-monospace, "DejaVu Sans Mono", monospace; font-size: 13px; overflow-wrap: anywhere; }
h3 { font-size: 16px; margin: 22px 0 8px; }
pre { background: #f0f3f7; border-left: 3px solid #0072b2; border-radius: 4px; padding: 9px 13px; margin: 6px 0; font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; white-space: pre-wrap; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: 8px 0; font-variant-numeric: tabular-nums; font-size: 14px; }
th, td { padding: 4px 9px; text-align: right; border-bottom: 1px solid #e8ebf0; white-space: nowrap; }
thead th { color: #667085; font-weight: 600; font-size: 13px; border-bottom: 2px solid #d4d9e2; vertical-align: bottom; white-space: normal; min-width: 3.6em; }
th.text, td.text, .facts th, .facts td { text-align: left; } td.text { white-space: normal; } tbody tr:hover { background: #f6f8fb; }
.facts th { font-weight: 400; color: #667085; padding-left: 0; vertical-align: top; } .facts td { white-space: normal; overflow-wrap: anywhere; }
tr.marked td { background: #e3f3ec; font-weight: 600; }
.note { color: #667085; font-size: 13px; max-width: 80em; }
.mask { display: inline-flex; gap: 1px; vertical-align: middle; }
.mask i, .mask b { flex: none; width: 6px; height: 14px; border-radius: 1px; box-sizing: border-box; background: #e08e00; }
.mask b { background: none; border: 1px solid #c3c9d4; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(440px, 1fr)); gap: 14px 26px; }
figure { margin: 10px 0; } figcaption { font-weight: 600; font-size: 14px; }
svg { width: 100%; height: auto; display: block; font-family: inherit; }
.chart { max-width: 720px; } .chart text { font-size: 14px; fill: #667085; } .chart .label { fill: #1c2230; } .grid { stroke: #e6e9ee; }
.curve { fill: none; stroke-width: 2; stroke-linejoin: round; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 13px; color: #475067; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 6px; vertical-align: -1px; box-sizing: border-box; }
.legend .box { background: #fff; border: 1.3px solid #475067; } .legend .dot { background: #e08e00; border-radius: 50%; }
.legend .ring { border: 1.3px dashed #98a1b2; border-radius: 50%; }
.network text { font-size: 11px; text-anchor: middle; fill: #1c2230; pointer-events: none; }
.network .op { fill: #fff; stroke: #475067; stroke-width: 1.2; } .network .act { fill: #e08e00; }
.network .gone { fill: #fff; stroke: #98a1b2; stroke-width: 1.3; stroke-dasharray: 2.5 2; }
.network .way { fill: none; stroke: #98a1b2; stroke-width: 1.3; }
details { margin: 10px 0; } summary { cursor: pointer; color: #0b5ea8; }
footer { color: #667085; font-size: 13px; padding-bottom: 30px; }
@media print { section { break-inside: avoid-page; border: none; } body { background: #fff; } }
</style></head><body>
)";

}  // namespace

std::string page(const std::vector<ReportPart>& parts) {
  std::string contents, body;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const ReportPart& part = parts[i];
    contents += concat("<a href='#part", i, "'>", html_text(part.name), "</a>");
    body += concat("<section id='part", i, "'>\n<h2>", html_text(part.title), "</h2>\n<p class='name'>",
                   html_text(part.name), "</p>\n", part.body, "</section>\n");
  }
  return concat(kHead, "<header><h1>Pleat report<small>train deep, fold, run shallow</small></h1><nav>", contents,
                "</nav></header>\n<main>\n", body, "<footer>Written by pleat ", kVersion,
                ", `pleat report`.</footer></main></body></html>\n");
}

}  // namespace pleat
