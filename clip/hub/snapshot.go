package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/weights"
)

// configFiles describe a model; one of them must be there.
var configFiles = []string{"open_clip_config.json", "config.json"}

// besideFiles go with the weights and the tokenizer where they are there.
var besideFiles = []string{
	"preprocessor_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
}

// tokenizerFiles are what tokenizers are made of.
var tokenizerFiles = []string{
	"tokenizer.json", "vocab.json", "merges.txt", "vocab.txt", "spiece.model", "sentencepiece.bpe.model", "sentencepiece.model", "tokenizer.model",
}

// TokenizerFiles lists the names of files that tokenizers are made of, or that
// go with them.
func TokenizerFiles() []string {
	return append(slices.Clone(tokenizerFiles), "bpe_simple_vocab_16e6.txt.gz", "r50k_base.tiktoken", "p50k_base.tiktoken",
		"cl100k_base.tiktoken", "o200k_base.tiktoken", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
}

// Model brings the files of a model here: its configuration, its weights and
// its tokenizer. It returns the file of the weights, or the index of several;
// the others lie beside it. The weights are those that weights.Choose picks.
// With a file given, that of the repository is taken and a configuration is not
// asked for. Each file is passed to accept, where given, when it is here; the
// weights come last, and after an error of accept not at all.
func (h *Hub) Model(ctx context.Context, r Ref, file string, accept func(file string) error) (string, error) {
	choose := func(files []string) (main string, wanted []string, err error) {
		switch {
		case file != "" && slices.Contains(files, file):
			main = file
		case file != "":
			return "", nil, fmt.Errorf("%w: %s has no %s", ErrNotFound, r, file)
		case len(among(configFiles, files)) == 0:
			return "", nil, fmt.Errorf("%w: %s has none of %s", ErrNotFound, r, strings.Join(configFiles, ", "))
		default:
			main, err = weights.Choose(files)
			if errors.Is(err, fs.ErrNotExist) {
				return "", nil, fmt.Errorf("%w: %s %w", ErrNotFound, r, err)
			} else if err != nil {
				return "", nil, fmt.Errorf("%s %w, by its address %s/%s/blob/%s/FILE", r, err, h.Endpoint, r.Repo, r.Revision)
			}
		}
		wanted = among(slices.Concat(configFiles, besideFiles, tokenizerFiles), files)
		return main, append(wanted, main), nil
	}
	names := weights.UsualNames()
	if file != "" {
		names = []string{file}
	}
	return h.snapshot(ctx, r, accept, choice{append(names, configFiles...), choose})
}

// HasTokenizer tells whether files of a tokenizer lie in a folder.
func HasTokenizer(folder string) bool {
	return slices.ContainsFunc(tokenizerFiles, func(f string) bool { return isRegular(filepath.Join(folder, f)) })
}

// Tokenizer brings the files of a tokenizer here and returns their folder.
func (h *Hub) Tokenizer(ctx context.Context, r Ref) (string, error) {
	file, err := h.snapshot(ctx, r, nil, choice{nil, func(files []string) (string, []string, error) {
		tokenizers := among(tokenizerFiles, files)
		if len(tokenizers) == 0 {
			return "", nil, fmt.Errorf("%w: %s has no tokenizer (none of %s)", ErrNotFound, r, strings.Join(tokenizerFiles, ", "))
		}
		return tokenizers[0], append(tokenizers, among(append(besideFiles, "config.json"), files)...), nil // a config.json tells the class
	}})
	if err != nil {
		return "", err
	}
	return filepath.Dir(file), nil
}

// among returns those of names that are files.
func among(names, files []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !slices.Contains(files, name) })
}

// choice tells which files of a repository are wanted.
type choice struct {
	names []string // to ask a server for that lists no files; it is asked for those of tokenizers anyway
	pick  func(files []string) (main string, wanted []string, err error)
}

// snapshot downloads the chosen files that the cache lacks and returns the path of the
// main one. Where the hub cannot be reached, the files in the cache are used.
func (h *Hub) snapshot(ctx context.Context, r Ref, accept func(string) error, choose choice) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	if accept == nil {
		accept = func(string) error { return nil }
	}
	here, missing := h.cached(r, accept, choose)
	var no *refusal
	if h.Offline {
		if errors.As(missing, &no) {
			return "", no.error
		}
		if missing != nil {
			missing = fmt.Errorf("%w and %w; unset HF_HUB_OFFLINE once to download it", ErrOffline, missing)
		}
		return here, missing
	}
	attempts := maxAttempts
	if missing == nil {
		attempts = 1 // nobody waits long to hear that it is the latest
	}
	path, err := h.download(ctx, r, attempts, accept, choose)
	var f *failure
	if err != nil && missing == nil && ctx.Err() == nil && errors.As(err, &f) && f.again {
		return here, nil
	}
	return path, err
}

// cached finds the chosen files in the cache.
func (h *Hub) cached(r Ref, accept func(string) error, choose choice) (string, error) {
	commit := h.cachedCommit(r)
	files := h.snapshotFiles(r, commit)
	if commit == "" || len(files) == 0 {
		return "", fmt.Errorf("%s is not in the cache %s", r, h.CacheDir)
	}
	ensure := func(f string) error {
		if !slices.Contains(files, f) {
			return fmt.Errorf("%s is not in the cache %s as a whole: %s is missing", r, h.CacheDir, f)
		}
		return nil
	}
	main, wanted, err := choose.pick(files)
	if err != nil {
		return "", fmt.Errorf("%s is not in the cache %s as a whole: %w", r, h.CacheDir, err)
	}
	return h.gather(Ref{r.Repo, commit}, main, wanted, ensure, accept)
}

// download brings the chosen files here that are not.
func (h *Hub) download(ctx context.Context, r Ref, attempts int, accept func(string) error, choose choice) (string, error) {
	commit, files, err := h.list(ctx, r, attempts)
	var without *unsaid
	if errors.As(err, &without) {
		commit, files, err = h.probe(ctx, r, choose, err)
	}
	if err != nil {
		return "", err
	}
	main, wanted, err := choose.pick(files)
	if err != nil {
		return "", err
	}
	fixed := Ref{r.Repo, commit}
	file, err := h.gather(fixed, main, wanted, func(f string) error { return h.putInSnapshot(ctx, fixed, f) }, accept)
	if err != nil || commitPattern.MatchString(r.Revision) {
		return file, err
	}
	return file, h.keepCommit(r, commit)
}

// refusal is an error of accept.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// gather calls ensure, which brings a file into the snapshot or wants it there, for
// the wanted files and for those that an index among them names. accept may refuse a
// wanted file. gather returns the path of the main one.
func (h *Hub) gather(r Ref, main string, wanted []string, ensure, accept func(string) error) (string, error) {
	local := func(f string) string { return filepath.Join(h.snapshotDir(r, r.Revision), filepath.FromSlash(f)) }
	for _, f := range wanted {
		if err := ensure(f); err != nil {
			return "", err
		}
		if err := accept(local(f)); err != nil {
			return "", &refusal{err}
		}
	}
	shards, err := shardsOf(local(main))
	if err != nil {
		return "", err
	}
	for _, s := range shards {
		if err := ensure(path.Join(path.Dir(main), s)); err != nil {
			return "", err
		}
	}
	return local(main), nil
}

// putInSnapshot makes a file of a commit appear in its snapshot.
func (h *Hub) putInSnapshot(ctx context.Context, r Ref, file string) error {
	if isRegular(filepath.Join(h.snapshotDir(r, r.Revision), filepath.FromSlash(file))) {
		return nil
	}
	b, _, err := h.lookUp(ctx, r, file)
	if err != nil {
		return err
	}
	if err := h.fetch(ctx, b); err != nil {
		return err
	}
	return h.link(r, r.Revision, file, b.etag)
}

const maxListing = 64 << 20 // bytes

// list asks which commit a revision is and which files it has.
func (h *Hub) list(ctx context.Context, r Ref, attempts int) (commit string, files []string, err error) {
	u := h.url("api/models/"+r.Repo, "revision", r.Revision, "")
	err = h.retry(ctx, attempts, func() (bool, error) {
		a, err := h.send(ctx, http.MethodGet, u, nil, func(*http.Response) bool { return false })
		if err != nil {
			return false, err
		}
		defer a.Close()
		if err := h.status(a.Response, r.String(), r); err != nil {
			return false, err
		}
		data, err := io.ReadAll(io.LimitReader(a, maxListing))
		if err != nil {
			return false, transient(fmt.Errorf("%w: %s: %w", ErrServer, u.Redacted(), err))
		}
		var info struct {
			SHA      string
			Siblings []struct{ RFilename string }
		}
		if err := json.Unmarshal(data, &info); err != nil || !commitPattern.MatchString(info.SHA) {
			return false, fmt.Errorf("%w: %s: no listing of a repository; check HF_ENDPOINT and proxies", ErrServer, u.Redacted())
		}
		commit, files = info.SHA, nil
		for _, s := range info.Siblings {
			files = append(files, s.RFilename)
		}
		return false, nil
	})
	return commit, files, err
}

// probe asks a server that lists nothing for each file that may be wanted;
// unlisted is the error of the listing.
func (h *Hub) probe(ctx context.Context, r Ref, choose choice, unlisted error) (commit string, files []string, err error) {
	candidates := slices.Concat(choose.names, besideFiles, tokenizerFiles)
	slices.Sort(candidates)
	for _, f := range slices.Compact(candidates) {
		_, c, err := h.lookUp(ctx, r, f)
		switch {
		case errors.Is(err, ErrNotFound):
			continue
		case err != nil:
			return "", nil, err
		}
		commit, files = c, append(files, f)
	}
	if files == nil {
		return "", nil, unlisted
	}
	return commit, files, nil
}

// shardsOf lists the files that an index of weights names; none for weights.
func shardsOf(file string) ([]string, error) {
	if !strings.HasSuffix(file, ".index.json") {
		return nil, nil
	}
	shards, err := weights.Shards(file)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for _, s := range shards {
		if !filepath.IsLocal(s) || s != path.Base(s) || strings.ContainsRune(s, '\\') {
			return nil, fmt.Errorf("%w: %s: shard %q is not beside the index", ErrDamaged, file, s)
		}
	}
	return shards, nil
}
