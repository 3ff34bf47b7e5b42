package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// A cell is what one contestant had of a unit, by round.
type cell struct {
	of    string // benchmark, with its parameters but impl
	procs int
	impl  string
	unit  string
}

// scoreboard reads results of benchmarks, and writes them as tables.
func scoreboard(w io.Writer, results io.Reader, short bool) error {
	measured, last, cpu := map[cell][]float64{}, map[cell]string{}, ""
	for r := benchfmt.NewReader(results, "results"); r.Scan(); {
		result, ok := r.Result().(*benchfmt.Result)
		if !ok {
			continue
		}
		cpu = cmp.Or(result.GetConfig("cpu"), cpu)
		of, impl, procs := parts(result)
		for _, v := range result.Values {
			value, unit := v.Value, v.Unit
			if v.OrigUnit != "" { // seconds, which were nanoseconds
				value, unit = v.OrigValue, v.OrigUnit
			}
			c := cell{of, procs, impl, unit}
			if n := len(measured[c]); n > 0 && last[c] == result.GetConfig("round") {
				measured[c][n-1] = min(measured[c][n-1], value) // the best turn
				continue
			}
			measured[c], last[c] = append(measured[c], value), result.GetConfig("round")
		}
	}
	fmt.Fprintf(w, "%s, %s/%s, %d processors, %s\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), strings.TrimSpace(cpu))
	if short {
		fmt.Fprint(w, "\nA short run: the figures mean nothing.\n")
	}
	var lost []string
	for _, table := range []struct {
		title string
		rows  []row
	}{{"Speed, memory and size", speed()}, {"Behaviour under load and faults", behaviour()}} {
		fmt.Fprintf(w, "\n## %s\n\n| scenario | unit | awsoidc | beside it: figure (awsoidc ÷ it; the same of processor time) | target | |\n|---|---|---|---|---|---|\n", table.title)
		for _, r := range table.rows {
			if line, met := r.line(measured, short); line != "" {
				fmt.Fprintln(w, line)
				if !met && !short {
					lost = append(lost, r.name())
				}
			}
		}
	}
	if len(lost) > 0 {
		fmt.Fprintf(w, "\nLost: %s.\n", strings.Join(lost, "; "))
	}
	return nil
}

// parts takes the name of a benchmark apart.
func parts(r *benchfmt.Result) (of, impl string, procs int) {
	base, all := r.Name.Parts()
	name := []string{string(base)}
	for _, part := range all {
		switch part := string(part); {
		case part[0] == '-':
			procs, _ = strconv.Atoi(part[1:])
		case strings.HasPrefix(part, "/impl="):
			impl = strings.TrimPrefix(part, "/impl=")
		case impl != "":
			impl += part // an import path
		default:
			name = append(name, part)
		}
	}
	return strings.Join(name, ""), impl, max(procs, 1)
}

func (r row) name() string {
	name := r.scenario
	if r.of == "HotToken" || r.of == "RoundTripper" || r.of == "Resident" || strings.HasPrefix(r.of, "Identities") || strings.HasPrefix(r.of, "CreateToken") {
		if r.unit == "ns/op" {
			name += fmt.Sprintf(", GOMAXPROCS=%d", r.procs)
		}
	}
	return name
}

// line returns the row in Markdown, and whether its target is met; "" where
// nothing was measured. Of a short run nothing is judged.
func (r row) line(measured map[cell][]float64, short bool) (string, bool) {
	own := cell{r.of, max(r.procs, 1), cmp.Or(r.ours, "awsoidc"), r.unit}
	ours := measured[own]
	if len(ours) == 0 {
		return "", true
	}
	var beside []string
	for _, c := range slices.SortedFunc(maps.Keys(measured), func(a, b cell) int { return cmp.Compare(middle(measured[a], r.unit), middle(measured[b], r.unit)) }) {
		if c.of == own.of && c.procs == own.procs && c.unit == own.unit && !strings.HasPrefix(c.impl, "awsoidc") {
			text := c.impl + " " + show(middle(measured[c], r.unit), r.unit)
			if q, p := ratio(ours, measured[c]); !math.IsNaN(q) && !math.IsInf(q, 0) && !counted(r.unit) {
				text += fmt.Sprintf(" (%.2f%s%s)", q, p, processor(measured, own, c))
			}
			beside = append(beside, text)
		}
	}
	target, verdict, met := "", "", true
	if r.bound {
		target, met = r.judge(ours, measured[cell{own.of, own.procs, r.against, own.unit}])
		if verdict = map[bool]string{true: "met", false: "**lost**"}[met]; short {
			verdict = ""
		}
	}
	figure := show(middle(ours, r.unit), r.unit) + spread(ours, r.unit)
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s |", r.name(), r.unit, figure, strings.Join(beside, ", "), target, verdict), met
}

// processor returns the ratio of the time that processors had, where that was
// measured beside the time on the wall.
func processor(measured map[cell][]float64, own, peer cell) string {
	if own.unit != "ns/op" {
		return ""
	}
	own.unit, peer.unit = "cpu-ns/op", "cpu-ns/op"
	q, _ := ratio(measured[own], measured[peer])
	if math.IsNaN(q) {
		return ""
	}
	return fmt.Sprintf("; %.2f", q)
}

// judge says what the target is, and whether it is met.
func (r row) judge(ours, peer []float64) (target string, met bool) {
	sign := map[bool]string{true: "≥", false: "≤"}[r.least]
	value, target := middle(ours, r.unit), fmt.Sprintf("%s %v", sign, r.limit)
	if r.against != "" {
		value, _ = ratio(ours, peer)
		target = fmt.Sprintf("%s %v × %s", sign, r.limit, r.against)
	}
	if r.least {
		return target, value >= r.limit
	}
	return target, value <= r.limit
}

// ratio returns the median of what ours are to a peer's figures in the same
// rounds, and the p-value of the two being alike, where that is not small.
func ratio(ours, peer []float64) (float64, string) {
	n := min(len(ours), len(peer))
	if n == 0 {
		return math.NaN(), ""
	}
	ratios := make([]float64, n)
	for i := range ratios {
		ratios[i] = ours[i] / peer[i]
	}
	same := ""
	thresholds := benchmath.DefaultThresholds
	c := benchmath.AssumeNothing.Compare(benchmath.NewSample(slices.Clone(ours), &thresholds), benchmath.NewSample(slices.Clone(peer), &thresholds))
	if n > 3 && c.P > c.Alpha {
		same = fmt.Sprintf(", p=%.2f", c.P)
	}
	slices.Sort(ratios)
	return (ratios[(n-1)/2] + ratios[n/2]) / 2, same
}

// counted reports whether a unit is of things that should not happen, of which
// the worst round counts, and not of time or memory.
func counted(unit string) bool {
	return unit != "ns/op" && unit != "B/op" && unit != "allocs/op" && unit != "misses/op" && unit != "cpu-ns/op" && strings.HasSuffix(unit, "/op")
}

// middle returns the figure that stands for all rounds.
func middle(values []float64, unit string) float64 {
	if len(values) == 0 {
		return math.Inf(1)
	}
	if counted(unit) {
		return slices.Max(values)
	}
	thresholds := benchmath.DefaultThresholds
	return benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values), &thresholds), 0.95).Center
}

// spread returns how far the middle may be off, as benchstat has it.
func spread(values []float64, unit string) string {
	if len(values) < 6 || counted(unit) {
		return ""
	}
	thresholds := benchmath.DefaultThresholds
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values), &thresholds), 0.95)
	return " " + s.PctRangeString()
}

func show(v float64, unit string) string {
	if unit == "ns/op" && v >= 1e6 {
		return strconv.FormatFloat(v/1e6, 'g', 3, 64) + " ms"
	}
	if v >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}
