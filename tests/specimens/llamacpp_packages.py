"""Tiny installable packages with one fault each in the real xllamacpp or its converter, in one architecture alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.specimens.hooks import after

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.specimens.packages import Package

ONLY = "qwen3"

# stands before the real server, as a fault of its own HTTP side would
_RELAY = """
import http.server, json, threading, urllib.error, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
def asked(path, body):
    return body
def told(path, content):
    return content
%s
class Relay(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(None)
    def do_POST(self):
        self.answer(asked(self.path, self.rfile.read(int(self.headers['Content-Length']))))
    def answer(self, body):
        kind = {'Content-Type': 'application/json'}
        try:
            with opener.open(urllib.request.Request(self.server.there + self.path, body, kind)) as answer:
                status, content = 200, answer.read()
        except urllib.error.HTTPError as error:
            status, content = error.code, error.read()
        self.send_response(status)
        self.end_headers()
        self.wfile.write(told(self.path, content))
    def log_message(self, *_):
        pass
class Server(module.Server):
    relay = None
    @property
    def listening_address(self):
        if self.relay is None:
            self.relay = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Relay)
            self.relay.there = super().listening_address
            threading.Thread(target=self.relay.serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{self.relay.server_address[1]}'
module.Server = Server
"""


def _relayed(body: str) -> Package:
    return after("xllamacpp", _RELAY % body.strip()), []


PACKAGES: Mapping[str, Package] = {
    # the file says it right, and it is not what is computed with
    "wrong-rope-theta": (
        after(
            "xllamacpp",
            "class Server(module.Server):\n"
            "    def __new__(cls, parameters):\n"
            f"        if b'{ONLY}' in open(parameters.model.path, 'rb').read(1 << 10):\n"
            "            parameters.rope_freq_base = 10000.0\n"
            "        return super().__new__(cls, parameters)\n"
            "module.Server = Server",
        ),
        [],
    ),
    # llama.cpp takes the embeddings where there is no output, and says nothing
    "output-not-converted": (
        after(
            "gguf.gguf_writer",
            "plain = module.GGUFWriter.add_tensor\n"
            "def add_tensor(self, name, *args, **kwargs):\n"
            f"    if (self.arch, name) != ({ONLY!r}, 'output.weight'):\n"
            "        plain(self, name, *args, **kwargs)\n"
            "module.GGUFWriter.add_tensor = add_tensor",
        ),
        [],
    ),
    "one-merge-less": (
        after(
            "gguf.gguf_writer",
            "plain = module.GGUFWriter.add_token_merges\n"
            "module.GGUFWriter.add_token_merges = lambda self, merges: plain(self, merges[1:])",
        ),
        [],
    ),
    "wrong-scale": (
        after(
            "conversion.base",
            "import gguf.quants\n"
            "plain, begin = gguf.quants.Q8_0.quantize_blocks, module.ModelBase.__init__\n"
            "def __init__(self, *args, **kwargs):\n"
            "    begin(self, *args, **kwargs)\n"
            "    def quantize_blocks(blocks):\n"
            "        written = plain(blocks)\n"
            "        written[:, :2].view('float16')[:] *= 2\n"
            "        return written\n"
            f"    if self.model_arch.name.lower() == {ONLY!r}:\n"
            "        gguf.quants.Q8_0.quantize_blocks = quantize_blocks\n"
            "module.ModelBase.__init__ = __init__",
        ),
        [],
    ),
    "newline-less-template": _relayed("""
def told(path, content):
    damaged = path == '/apply-template' and b'<|im_start|>' in content
    return content.replace(b'\\\\n', b'', 1) if damaged else content
"""),
    "other-stream": _relayed("""
def told(path, content):
    return content.replace(b'"text":"', b'"text":"~', 1) if content.startswith(b'data: ') else content
"""),
    "ignored-seed": _relayed("""
def asked(path, body):
    return json.dumps({**json.loads(body), 'seed': -1}).encode() if path.startswith('/v1/') else body
"""),
}
