package hub

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	maxRedirects  = 10
	maxAttempts   = 5
	maxBackoff    = 30 * time.Second
	maxRetryAfter = 2 * time.Minute
)

// failure is an error of one attempt.
type failure struct {
	err   error
	again bool          // another attempt may do better
	after time.Duration // as the server asked
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func transient(err error) error { return &failure{err: err, again: true} }

// retry runs try until it succeeds, its error is final, or attempts are used
// up. The result of try says whether it got further, which starts the count anew.
func (h *Hub) retry(ctx context.Context, attempts int, try func() (further bool, err error)) error {
	wait := h.backoff
	for attempt := 1; ; attempt++ {
		further, err := try()
		var f *failure
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &f) || !f.again:
			return err
		case f.after > maxRetryAfter:
			return fmt.Errorf("%w; try again in %v", err, f.after)
		}
		if further {
			attempt, wait = 0, h.backoff
		}
		if attempt >= attempts || attempt > 1 && isAbsent(err) {
			return fmt.Errorf("%w (%d attempts); try again later", err, attempt)
		}
		if err := sleep(ctx, max(wait, f.after)); err != nil {
			return err
		}
		wait = min(2*wait, maxBackoff)
	}
}

// isAbsent tells that nobody is there who could be busy: waiting longer does not help.
func isAbsent(err error) bool {
	var name *net.DNSError
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &name) && name.IsNotFound
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// errSilent ends requests whose server stays silent.
var errSilent = errors.New("the server stopped talking")

// answer is a response whose body ends with an error where the server stays
// silent for too long.
type answer struct {
	*http.Response
	alarm  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
	ctx    context.Context
}

func (a *answer) Read(p []byte) (int, error) {
	n, err := a.Body.Read(p)
	a.alarm.Reset(a.limit)
	if err != nil && err != io.EOF && context.Cause(a.ctx) != nil {
		err = context.Cause(a.ctx)
	}
	return n, err
}

func (a *answer) Close() {
	a.alarm.Stop()
	a.Body.Close()
	a.cancel(nil)
}

// send asks for u and follows redirects until done says that a response is what
// was wanted. The token goes to the endpoint alone. Errors are failures.
func (h *Hub) send(ctx context.Context, method string, u *url.URL, header http.Header, done func(*http.Response) bool) (*answer, error) {
	asked := u.Redacted()
	for range maxRedirects {
		a, err := h.sendOnce(ctx, method, u, header)
		if err != nil {
			err = fmt.Errorf("%w: %s: %w", ErrServer, asked, err)
			var address *net.AddrError // such as a port that none can have
			if errors.As(err, &address) {
				return nil, err
			}
			return nil, transient(err)
		}
		location := a.Header.Get("Location")
		if a.StatusCode < 300 || a.StatusCode > 399 || location == "" || done(a.Response) {
			return a, nil
		}
		a.Close()
		next, err := u.Parse(location)
		switch {
		case err != nil || next.Scheme != "https" && next.Scheme != "http":
			return nil, fmt.Errorf("%w: %s redirects to %q", ErrServer, asked, location)
		case u.Scheme == "https" && next.Scheme == "http":
			return nil, fmt.Errorf("%w: %s redirects to %s, which is not encrypted", ErrServer, asked, next.Host)
		}
		u = next
	}
	return nil, fmt.Errorf("%w: %s redirects more than %d times; check HF_ENDPOINT", ErrServer, asked, maxRedirects)
}

func (h *Hub) sendOnce(ctx context.Context, method string, u *url.URL, header http.Header) (*answer, error) {
	a := &answer{limit: h.Timeout}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.alarm = time.AfterFunc(h.Timeout, func() { a.cancel(fmt.Errorf("%w for %v", errSilent, h.Timeout)) })
	req, err := http.NewRequestWithContext(a.ctx, method, u.String(), nil)
	if err == nil {
		for name, values := range header {
			req.Header[name] = values
		}
		req.Header.Set("User-Agent", "clip-wgpu")
		if h.Token != "" && u.Scheme == h.endpoint.Scheme && u.Host == h.endpoint.Host {
			req.Header.Set("Authorization", "Bearer "+h.Token)
		}
		a.Response, err = h.client.Do(req)
	}
	if err == nil {
		a.alarm.Reset(a.limit)
		return a, nil
	}
	if cause := context.Cause(a.ctx); cause != nil {
		err = cause
	}
	a.alarm.Stop()
	a.cancel(nil)
	var wrapped *url.Error // it repeats the URL, with what signs it
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	return nil, err
}

// unsaid is a 404 without the hub's word on what is missing, as servers give
// that have files and no listings.
type unsaid struct{ error }

func (e *unsaid) Unwrap() error { return e.error }

// status is the error that a response's status stands for, nil for success.
func (h *Hub) status(a *http.Response, what string, r Ref) error {
	code := a.StatusCode
	said := a.Header.Get("X-Error-Code")
	switch {
	case code < 300:
		return nil
	case code == http.StatusUnauthorized:
		hint := "it does not exist, or is private: set HF_TOKEN to a token that may read it"
		if h.Token != "" {
			hint = "it does not exist, or the token (HF_TOKEN or the file of the Hugging Face login) may not read it"
		}
		return fmt.Errorf("%w: %s (status 401): %s", ErrDenied, what, hint)
	case code == http.StatusForbidden || said == "GatedRepo":
		return fmt.Errorf("%w: %s (status %d): accept its terms at %s/%s, then set HF_TOKEN to a token of that account",
			ErrDenied, what, code, h.Endpoint, r.Repo)
	case code == http.StatusNotFound && said == "RevisionNotFound":
		return fmt.Errorf("%w: %s has no revision %q", ErrNotFound, Prefix+r.Repo, r.Revision)
	case code == http.StatusNotFound && said == "":
		return &unsaid{fmt.Errorf("%w: %s (status 404)", ErrNotFound, what)}
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %s (status 404)", ErrNotFound, what)
	case code == http.StatusTooManyRequests:
		return &failure{fmt.Errorf("%w: %s: too many requests (status 429)", ErrServer, what), true, retryAfter(a.Header)}
	case code == http.StatusRequestTimeout || code >= 500:
		return &failure{fmt.Errorf("%w: %s: status %d", ErrServer, what, code), true, retryAfter(a.Header)}
	}
	return fmt.Errorf("%w: %s: status %d", ErrServer, what, code)
}

// retryAfter reads the header of that name (RFC 9110, 10.2.3).
func retryAfter(header http.Header) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if seconds, err := strconv.Atoi(value); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, 1<<30)) * time.Second
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(t).Round(time.Second))
	}
	return 0
}
