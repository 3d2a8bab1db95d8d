// Package hub brings models from the Hugging Face hub to this machine, into the
// cache that Python's huggingface_hub keeps and in its layout, so that both use
// what the other has downloaded. It needs no cgo and no GPU.
//
// A file becomes visible in the cache when its length and checksum are right,
// and not before; a download that stopped goes on where it was.
package hub

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Errors are one line that names the repository or URL and what to do. They
// match one of these, weights.ErrNotWeights where a repository has several files
// of weights, an error of the system, or the context's.
var (
	ErrRef      = errors.New("invalid hub id")
	ErrNotFound = errors.New("not found on the hub")
	ErrDenied   = errors.New("access denied by the hub")
	ErrServer   = errors.New("the hub does not answer as it should")
	ErrDamaged  = errors.New("download is damaged")
	ErrOffline  = errors.New("offline (HF_HUB_OFFLINE)")
)

// Prefix starts the sources that name a repository on the hub.
const Prefix = "hf-hub:"

// Ref names a state of a repository.
type Ref struct {
	Repo     string // org/name, or the name of one of the first ones, such as roberta-base
	Revision string // branch, tag or commit; ParseRef gives main where none is named
}

var (
	repoPattern     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)?$`)
	revisionPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._/-]*$`)
	commitPattern   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// ParseRef reads org/name or org/name@revision.
func ParseRef(s string) (Ref, error) {
	r := Ref{}
	var named bool
	r.Repo, r.Revision, named = strings.Cut(s, "@")
	switch {
	case !repoPattern.MatchString(r.Repo) || strings.Contains(r.Repo, ".."):
		return Ref{}, fmt.Errorf("%w %q: want org/name or org/name@revision", ErrRef, s)
	case !named:
		r.Revision = "main"
	case !revisionPattern.MatchString(r.Revision) || !filepath.IsLocal(r.Revision):
		return Ref{}, fmt.Errorf("%w %q: revision %q is no branch, tag or commit", ErrRef, s, r.Revision)
	}
	return r, nil
}

// String is the source that names r.
func (r Ref) String() string {
	if r.Revision == "main" {
		return Prefix + r.Repo
	}
	return Prefix + r.Repo + "@" + r.Revision
}

// Options adjust New. What is empty comes from the environment, as for Python.
type Options struct {
	CacheDir string // HF_HUB_CACHE, else hub in HF_HOME, else huggingface/hub in XDG_CACHE_HOME or ~/.cache
	Endpoint string // HF_ENDPOINT, else https://huggingface.co
	Token    string // HF_TOKEN, else the file HF_TOKEN_PATH or token in HF_HOME; neither with HF_HUB_DISABLE_IMPLICIT_TOKEN
	Offline  bool   // or HF_HUB_OFFLINE: what the cache has is all there is
	// Timeout is how long a server may stay silent: HF_HUB_DOWNLOAD_TIMEOUT in
	// seconds, else 10 s.
	Timeout time.Duration
	// Progress is told while a file arrives how many of its bytes are there.
	Progress func(file string, done, total int64)
}

// Hub is a hub and its cache here. It is safe for concurrent use, also with
// other processes.
type Hub struct {
	Options
	endpoint *url.URL
	client   *http.Client
	backoff  time.Duration // before the first retry; it doubles
}

// New returns the hub that the options and the environment name.
func New(o Options) (*Hub, error) {
	if err := o.fromEnvironment(); err != nil {
		return nil, err
	}
	u, err := url.Parse(o.Endpoint)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("hub endpoint %q (HF_ENDPOINT): want a URL such as %s", o.Endpoint, defaultEndpoint)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true // lengths and checksums are those of the files
	return &Hub{
		Options:  o,
		endpoint: u,
		backoff:  time.Second,
		client: &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// resolveURL is where a file of a repository is served.
func (h *Hub) resolveURL(r Ref, file string) *url.URL {
	return h.url(r.Repo, "resolve", r.Revision, file)
}

// url joins the endpoint, a repository, which may have a slash, verbs and a file.
func (h *Hub) url(repo, verb, revision, file string) *url.URL {
	raw := "/" + repo + "/" + verb + "/" + url.PathEscape(revision)
	plain := "/" + repo + "/" + verb + "/" + revision
	if file != "" {
		for part := range strings.SplitSeq(file, "/") {
			raw += "/" + url.PathEscape(part)
			plain += "/" + part
		}
	}
	u := *h.endpoint
	base := strings.TrimSuffix(u.Path, "/")
	u.Path, u.RawPath = base+plain, base+raw
	return &u
}
