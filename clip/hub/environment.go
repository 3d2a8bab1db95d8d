package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	defaultEndpoint = "https://huggingface.co"
	defaultTimeout  = 10 * time.Second
)

// fromEnvironment fills in what o leaves open.
func (o *Options) fromEnvironment() error {
	home, err := huggingFaceHome()
	if err != nil {
		return err
	}
	o.CacheDir = firstOf(o.CacheDir, expand(os.Getenv("HF_HUB_CACHE")), expand(os.Getenv("HUGGINGFACE_HUB_CACHE")), filepath.Join(home, "hub"))
	if o.CacheDir, err = filepath.Abs(o.CacheDir); err != nil {
		return fmt.Errorf("hub cache: %w", err)
	}
	o.Endpoint = strings.TrimRight(firstOf(o.Endpoint, os.Getenv("HF_ENDPOINT"), defaultEndpoint), "/")
	offline := firstOf(os.Getenv("HF_HUB_OFFLINE"), os.Getenv("TRANSFORMERS_OFFLINE"))
	o.Offline = o.Offline || slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(offline))
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
		if n, err := strconv.Atoi(os.Getenv("HF_HUB_DOWNLOAD_TIMEOUT")); err == nil && n > 0 {
			o.Timeout = time.Duration(min(n, 1<<30)) * time.Second
		}
	}
	if o.Token = cleanToken(firstOf(o.Token, os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))); o.Token == "" {
		o.Token, err = readToken(firstOf(expand(os.Getenv("HF_TOKEN_PATH")), filepath.Join(home, "token")))
	}
	return err
}

// huggingFaceHome is the folder of Hugging Face's libraries.
func huggingFaceHome() (string, error) {
	if home := expand(os.Getenv("HF_HOME")); home != "" {
		return home, nil
	}
	if cache := expand(os.Getenv("XDG_CACHE_HOME")); cache != "" {
		return filepath.Join(cache, "huggingface"), nil
	}
	user, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("hub cache: %w; set HF_HOME to a folder", err)
	}
	return filepath.Join(user, ".cache", "huggingface"), nil
}

// expand replaces ~ and variables, as Python's library does.
func expand(path string) string {
	path = os.ExpandEnv(path)
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || os.IsPathSeparator(rest[0])) {
		if user, err := os.UserHomeDir(); err == nil {
			return filepath.Join(user, rest)
		}
	}
	return path
}

func readToken(path string) (string, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission):
		return "", nil // public models need none
	case err != nil:
		return "", fmt.Errorf("hub token: %w", err)
	}
	return cleanToken(string(data)), nil
}

func cleanToken(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\r", "", "\n", "").Replace(s))
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
