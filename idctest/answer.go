package idctest

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// answer is an HTTP answer before it is sent.
type answer struct {
	status      int
	contentType string
	header      http.Header
	body        []byte
	requestID   string
	date        time.Time // on the server's clock
	errType     string    // the exception, for the log

	size int64 // pad the body with spaces up to this size; 0: don't
	cut  bool  // break off in the middle of the body
}

// How a connection can fail instead of carrying an answer.
var (
	errDial  = errors.New("idctest: fault: refused the connection")
	errReset = errors.New("idctest: fault: reset the connection")
	errCut   = errors.New("idctest: fault: cut the answer short")
)

// write sends the answer. An error means that the connection is to be broken.
func (a *answer) write(ctx context.Context, w http.ResponseWriter, head bool) error {
	h := w.Header()
	h.Set("Content-Type", a.contentType)
	h.Set("Date", a.date.UTC().Format(http.TimeFormat))
	h.Set("X-Amzn-Requestid", a.requestID)
	hasBody := a.status != http.StatusNoContent && a.status != http.StatusNotModified
	if hasBody && a.size == 0 {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	maps.Copy(h, a.header)
	w.WriteHeader(a.status)
	if head || !hasBody {
		return nil
	}
	body := a.body
	if a.cut {
		body = body[:len(body)/2]
	}
	if _, err := w.Write(body); err != nil {
		return err
	}
	if a.cut {
		http.NewResponseController(w).Flush()
		return errCut
	}
	return pad(ctx, w, a.size-int64(len(a.body)))
}

// pad writes n spaces, a little at a time.
func pad(ctx context.Context, w io.Writer, n int64) error {
	if n <= 0 {
		return nil
	}
	block := make([]byte, min(n, 32<<10))
	for i := range block {
		block[i] = ' '
	}
	for ; n > 0; n -= int64(len(block)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		block = block[:min(n, int64(len(block)))]
		if _, err := w.Write(block); err != nil {
			return err
		}
	}
	return nil
}

// abort breaks the connection: of the in-memory transport with the error that
// a real one would give, of net/http's server with a TCP reset.
func abort(w http.ResponseWriter, why error) {
	if m, ok := w.(interface{ abort(error) }); ok {
		m.abort(why)
		return
	}
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or a recorder
	}
	if why == errReset || why == errDial {
		setLinger(conn)
	}
	conn.Close()
}

// setLinger makes closing conn send a reset instead of an orderly end.
func setLinger(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = t.NetConn()
	}
	if t, ok := conn.(interface{ SetLinger(int) error }); ok {
		t.SetLinger(0)
	}
}

// jsonAnswer is a success of SSO OIDC or the portal.
func jsonAnswer(v any) *answer {
	return &answer{status: http.StatusOK, contentType: "application/json", body: mustJSON(v)}
}

// xmlAnswer is an answer of STS, a success where errType is "".
func xmlAnswer(status int, errType string, v any) *answer {
	body, err := xml.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err) // the types above always encode
	}
	return &answer{status: status, contentType: "text/xml", errType: errType, body: append(body, '\n')}
}

func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // only what a test gave an Issuer may not encode
	}
	return b
}
