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
	if o.CacheDir == "" {
		o.CacheDir = expand(firstOf(os.Getenv("HF_HUB_CACHE"), os.Getenv("HUGGINGFACE_HUB_CACHE"), filepath.Join(home, "hub")))
	}
	if o.CacheDir, err = filepath.Abs(o.CacheDir); err != nil {
		return fmt.Errorf("hub cache: %w", err)
	}
	o.Endpoint = strings.TrimRight(firstOf(o.Endpoint, os.Getenv("HF_ENDPOINT"), defaultEndpoint), "/")
	offline := firstOf(os.Getenv("HF_HUB_OFFLINE"), os.Getenv("TRANSFORMERS_OFFLINE"))
	o.Offline = o.Offline || isTrue(offline)
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
		if n, err := strconv.Atoi(os.Getenv("HF_HUB_DOWNLOAD_TIMEOUT")); err == nil && n > 0 {
			o.Timeout = time.Duration(min(n, 1<<30)) * time.Second
		}
	}
	if o.Token = cleanToken(o.Token); o.Token == "" && !isTrue(os.Getenv("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
		o.Token, err = findToken(home)
	}
	return err
}

// isTrue reads a switch as huggingface_hub does.
func isTrue(value string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(value))
}

// huggingFaceHome is the folder of Hugging Face's libraries.
func huggingFaceHome() (string, error) {
	if home := os.Getenv("HF_HOME"); home != "" {
		return expand(home), nil
	}
	if cache := os.Getenv("XDG_CACHE_HOME"); cache != "" {
		return expand(filepath.Join(cache, "huggingface")), nil
	}
	home, err := userHome()
	if err != nil {
		return "", fmt.Errorf("hub cache: %w; set HF_HOME to a folder", err)
	}
	return expandVariables(filepath.Join(home, ".cache", "huggingface"), onWindows), nil
}

// findToken takes the token of the environment, or that of the last login.
func findToken(home string) (string, error) {
	if token := cleanToken(firstOf(os.Getenv("HF_TOKEN"), os.Getenv("HUGGING_FACE_HUB_TOKEN"))); token != "" {
		return token, nil
	}
	return readToken(expand(firstOf(os.Getenv("HF_TOKEN_PATH"), filepath.Join(home, "token"))))
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
