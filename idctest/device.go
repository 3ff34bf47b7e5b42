package idctest

import (
	"fmt"
	"strings"
	"time"
)

// device is one device authorization (RFC 8628).
type device struct {
	client    *client
	startURL  string
	code      string // the device code
	userCode  string
	formToken string // shows that an approval comes from the page
	expires   time.Time
	status    deviceStatus

	interval    time.Duration
	lastPoll    time.Time // zero: none yet
	autoApprove int       // polls left that answer "pending" before it approves itself; negative: it doesn't
}

type deviceStatus string

const (
	devicePending  deviceStatus = "pending"
	deviceApproved deviceStatus = "approved"
	deviceDenied   deviceStatus = "denied"
	deviceUsed     deviceStatus = "used" // the device code was exchanged for a token
)

// Approve approves the device authorization with that user code, as a person
// does on the page. Case, spaces and hyphens make no difference. It is an
// error if there is none, it was decided already, or its time is over.
func (s *Server) Approve(userCode string) error { return s.decide(userCode, deviceApproved) }

// Deny refuses the device authorization with that user code: its next poll
// answers AccessDeniedException. Errors are those of Approve.
func (s *Server) Deny(userCode string) error { return s.decide(userCode, deviceDenied) }

// ApproveAfter makes every device authorization that is started from now on
// approve itself: so many polls answer AuthorizationPendingException, and the
// next succeeds. With 0 the first poll does; a negative number returns to
// waiting for Approve, Deny or the page. Polls that a fault or
// SlowDownException answered don't count.
//
// It is about /authorize too, where nothing polls: there any number but a
// negative one sends the browser on with a code at once, without a page.
func (s *Server) ApproveAfter(polls int) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.autoApprove = &polls
}

// Pending returns the user codes that wait for a person's decision, oldest
// first.
func (s *Server) Pending() []string {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var codes []string
	for _, d := range s.state.devices.all() {
		if d.status == devicePending && now.Before(d.expires) {
			codes = append(codes, d.userCode)
		}
	}
	return codes
}

// newDevice starts a device authorization. The caller holds mu.
func (s *Server) newDevice(now time.Time, c *client, startURL string) *device {
	d := &device{
		client: c, startURL: startURL,
		code: randomDeviceCode(), userCode: randomUserCode(), formToken: randomDeviceCode(),
		expires: now.Add(wholeSeconds(s.DeviceCodeLifetime, 600*time.Second)),
		status:  devicePending, interval: s.pollInterval(), autoApprove: -1,
	}
	for s.state.userCodes.get(d.userCode) != nil {
		d.userCode = randomUserCode()
	}
	if s.state.autoApprove != nil {
		d.autoApprove = *s.state.autoApprove
	}
	s.state.devices.put(d.code, d, maxDevices)
	s.state.userCodes.put(d.userCode, d, maxDevices)
	return d
}

func (s *Server) decide(userCode string, to deviceStatus) error {
	now := s.now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d := s.state.userCodes.get(tidyUserCode(userCode))
	if d == nil {
		return fmt.Errorf("idctest: no device authorization has user code %.20q; Pending lists those that wait", userCode)
	}
	if why := d.undecidable(now); why != "" {
		return fmt.Errorf("idctest: user code %s can't be %s: %s; start a new device authorization", d.userCode, to, why)
	}
	d.status = to
	return nil
}

// undecidable returns why a person can't approve or deny d any more; "" where
// they can.
func (d *device) undecidable(now time.Time) string {
	switch {
	case d.status == deviceUsed:
		return "it was approved and used already"
	case d.status != devicePending:
		return "it was " + string(d.status) + " already"
	case !now.Before(d.expires):
		return "it has expired"
	case !now.Before(d.client.expires):
		return "invalid client: its registration has expired"
	}
	return ""
}

// tooFast records a poll, and reports whether it came too soon after the last
// (RFC 8628 section 3.5).
func (d *device) tooFast(now time.Time) bool {
	early := !d.lastPoll.IsZero() && now.Sub(d.lastPoll) < d.interval
	d.lastPoll = now
	if early {
		d.slowDown(now)
	}
	return early
}

// slowDown lengthens the interval for good, and counts it from now.
func (d *device) slowDown(now time.Time) {
	d.lastPoll = now
	d.interval += 5 * time.Second
}

// approvesItself counts a poll, and approves d when it was given up to here.
func (d *device) approvesItself() {
	if d.status != devicePending || d.autoApprove < 0 {
		return
	}
	if d.autoApprove == 0 {
		d.status = deviceApproved
	}
	d.autoApprove--
}

func (s *Server) pollInterval() time.Duration {
	return wholeSeconds(s.PollInterval, time.Second)
}

// tidyUserCode brings a code as a person types it to its own form.
func tidyUserCode(code string) string {
	code = strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' {
			return -1
		}
		return r
	}, strings.ToUpper(code))
	if len(code) == 8 {
		code = code[:4] + "-" + code[4:]
	}
	return code
}
