package main

// A row is a line of the scoreboard: what is measured, and what it should be.
type row struct {
	scenario string
	of       string // benchmark, with its parameters
	procs    int    // GOMAXPROCS; 0 where the benchmark is no Go benchmark, but a test
	unit     string
	ours     string // "" is "awsoidc"

	// The target: at most limit, or with against at most limit times what that
	// peer has; with least, at least. Without any there is none.
	bound   bool
	limit   float64
	against string
	least   bool
}

func (r row) atMost(limit float64) row  { r.bound, r.limit = true, limit; return r }
func (r row) atLeast(limit float64) row { r.bound, r.limit, r.least = true, limit, true; return r }
func (r row) times(limit float64, peer string) row {
	r.bound, r.limit, r.against = true, limit, peer
	return r
}

func speed() []row {
	var rows []row
	add := func(all ...row) { rows = append(rows, all...) }
	for _, procs := range []int{1, 2} {
		hot := row{scenario: "one hot token", of: "HotToken", procs: procs, unit: "ns/op", ours: "awsoidc.Bearer"}
		add(hot.times(1.1, "limit"))
		hot.scenario, hot.ours = "one hot token, as a copy", "awsoidc.Token"
		add(hot.times(1, "oauth2.ReuseTokenSource"))
	}
	add(
		row{scenario: "one hot token", of: "HotToken", procs: 2, unit: "allocs/op", ours: "awsoidc.Bearer"}.atMost(0),
		row{scenario: "one hot token, as a copy", of: "HotToken", procs: 2, unit: "allocs/op", ours: "awsoidc.Token"}.atMost(1),
	)
	for _, n := range []string{"1", "10", "100", "1000", "10000"} {
		add(row{scenario: "one hot token, " + n + " goroutine(s)", of: "Goroutines/n=" + n, procs: 2, unit: "ns/op", ours: "awsoidc.Bearer"})
	}
	for _, procs := range []int{1, 2} {
		add(row{scenario: "through an http.RoundTripper", of: "RoundTripper", procs: procs, unit: "ns/op"})
	}
	add(row{scenario: "through an http.RoundTripper", of: "RoundTripper", procs: 2, unit: "allocs/op"}.times(0.5, "oauth2.Transport"))
	for _, n := range []string{"1000", "10000", "100000", "1000000"} {
		for _, procs := range []int{1, 2} {
			hit := row{scenario: "one of " + n + " identities", of: "Identities/n=" + n, procs: procs, unit: "ns/op"}
			if n == "100000" && procs == 2 {
				hit = hit.times(0.45, "golang-lru")
			}
			add(hit)
		}
	}
	for _, n := range []string{"1000", "10000", "100000", "1000000"} {
		memory := row{scenario: "memory of one of " + n, of: "Identities/n=" + n, procs: 2, unit: "B/entry"}
		if n == "1000000" {
			memory = memory.atMost(250)
		}
		add(memory)
	}
	for _, procs := range []int{1, 2} {
		add(row{scenario: "one of 100000, 10 % of them resident", of: "Resident", procs: procs, unit: "ns/op"}.times(0.75, "golang-lru"))
	}
	add(
		row{scenario: "one of 100000, 10 % of them resident", of: "Resident", procs: 2, unit: "misses/op"}.times(1, "golang-lru"),
		row{scenario: "memory of an identity's credentials", of: "IdentityCredentials", procs: 2, unit: "B/entry"}.atMost(600),
	)
	for _, procs := range []int{1, 2} {
		add(row{scenario: "CreateToken in memory", of: "CreateToken", procs: procs, unit: "ns/op", ours: "awsoidc/wire"}.times(1.1, "net/http"))
	}
	add(row{scenario: "CreateToken in memory", of: "CreateToken", procs: 2, unit: "allocs/op", ours: "awsoidc/wire"}.atMost(50))
	for _, procs := range []int{1, 2} {
		add(row{scenario: "signed CreateTokenWithIAM in memory", of: "CreateTokenWithIAM", procs: procs, unit: "ns/op", ours: "awsoidc/wire"}.times(0.7, "service/ssooidc"))
	}
	add(
		row{scenario: "process start to credentials, warm cache", of: "Start", procs: 2, unit: "ns/op"}.times(1, "ssocreds-from-portal"),
		row{scenario: "the same, role from the portal", of: "Start", procs: 2, unit: "ns/op", ours: "awsoidc-from-portal"},
		row{scenario: "program size, by package wire", of: "Size", procs: 2, unit: "MB-added", ours: "awsoidc/wire"}.atMost(0.1),
		row{scenario: "program size, by the root package", of: "Size", procs: 2, unit: "MB-added", ours: "awsoidc"},
		row{scenario: "program size, by package profile", of: "Size", procs: 2, unit: "MB-added", ours: "awsoidc/profile"},
	)
	for _, unit := range []string{"packages", "modules"} {
		for _, ours := range []string{"awsoidc/wire", "awsoidc", "awsoidc/profile"} {
			add(row{scenario: unit + " that a program gains, by " + ours, of: "Size", procs: 2, unit: unit, ours: ours})
		}
	}
	return rows
}

func behaviour() []row {
	rows := []row{
		row{scenario: "10,000 goroutines, token expired, 50 ms refresh", of: "Expired", unit: "calls/op"}.atMost(1),
		row{scenario: "10,000 goroutines, token expired, 50 ms refresh", of: "Expired", unit: "p99-ms"}.atMost(55),
		row{scenario: "the same, refresh due, token valid", of: "Due", unit: "calls/op"}.atMost(1),
		row{scenario: "the same, refresh due, token valid", of: "Due", unit: "p99-ms"}.atMost(1),
		row{scenario: "200 waiters, endpoint down", of: "Down", unit: "calls/op"}.atMost(3),
		row{scenario: "200 waiters, endpoint down", of: "Down", unit: "p99-ms"},
		row{scenario: "2,000 hits in 2 s of an outage, token valid", of: "Outage", unit: "calls/op"}.atMost(9), // three sends in each of three backoff steps
		row{scenario: "2,000 hits in 2 s of an outage, token valid", of: "Outage", unit: "errors/op"}.atMost(0),
		row{scenario: "10,000 hits, endpoint hangs, token valid", of: "Hang", unit: "blocked/op"}.atMost(0),
		row{scenario: "10,000 hits, endpoint hangs, token valid", of: "Hang", unit: "B-kept/hit"}.atMost(1),
		row{scenario: "a waiter with a deadline of 50 ms, 500 ms refresh", of: "Deadline", unit: "p50-ms"}.atMost(55),
		row{scenario: "a waiter with a deadline of 50 ms, and one after it", of: "Deadline", unit: "calls/op"}.atMost(1),
		row{scenario: "refresh window longer than the lifetime, 101 uses", of: "Window", unit: "calls/op"}.atMost(1),
	}
	for _, n := range []string{"1", "8", "64"} {
		share := row{scenario: n + " processes, one file, rotating, 5 expiries", of: "Share/n=" + n}
		for _, unit := range []string{"%served", "refreshes/op", "reuses/op", "lost/op", "p99-ms"} {
			share.unit = unit
			switch unit {
			case "%served":
				rows = append(rows, share.atLeast(100))
			case "refreshes/op":
				rows = append(rows, share.atMost(5))
			case "p99-ms":
				rows = append(rows, share)
			default:
				rows = append(rows, share.atMost(0))
			}
		}
	}
	rows = append(rows,
		row{scenario: "kill -9 at any point of a refresh", of: "Kill", unit: "corrupt/op"}.atMost(0),
		row{scenario: "kill -9 at any point of a refresh", of: "Kill", unit: "locked/op"}.atMost(0),
		row{scenario: "kill -9 at any point of a refresh", of: "Kill", unit: "unexplained/op"}.atMost(0),
		row{scenario: "kill -9 at any point of a refresh", of: "Kill", unit: "lost/op"},
		row{scenario: "another tool rewrites the file in place", of: "InPlace", unit: "errors/op"}.atMost(0),
		row{scenario: "disk full during a refresh", of: "FullDisk", unit: "errors/op"}.atMost(0),
		row{scenario: "disk full during a refresh", of: "FullDisk", unit: "lost/op"}.atMost(0),
		row{scenario: "starts with a token that is due, ends in 30 ms", of: "ShortProgram", unit: "lost/op"}.atMost(0),
		row{scenario: "endpoint hangs, 16 processes: the slowest", of: "HungEndpoint", unit: "slowest-s"}.atMost(25),
		row{scenario: "endpoint hangs, 16 processes", of: "HungEndpoint", unit: "requests/op"}.atMost(3),
	)
	for i := range rows {
		rows[i].procs = 2
	}
	rows = append(rows, row{scenario: "two wrappers round one source, -race", of: "Race", procs: 2, unit: "races/op"}.atMost(0))
	for _, above := range []string{"oauth2.NewClient", "LoadDefaultConfig", "WithBearerAuthTokenProvider"} {
		for _, every := range []string{"1s", "30s"} {
			rows = append(rows, row{scenario: "24 hours through " + above + ", each " + every, of: "Day/above=" + above + "/every=" + every, unit: "blocked/op"}.atMost(0))
		}
	}
	return append(rows,
		row{scenario: "device polling: 503, reset, timeout, slow_down", of: "DevicePolling", unit: "survived-of-4"}.atLeast(4),
		row{scenario: "redirects to another host, of two kinds", of: "Redirect", unit: "secrets/op"}.atMost(0),
	)
}
