"""What is not here, by its path, and what to use instead."""

from __future__ import annotations

import re

from overtone.doors.gemini.rpcs import NO_EMBEDDINGS

MODEL = r"/v1\w*/(tunedModels|models)/[^/:]+"
GENERATE = "POST /v1beta/tunedModels/X:generateContent"
NO_CACHES = "Cached contents are not supported; send them: a common beginning is computed once."
NOT_VERTEX = f"This is the Gemini API, not Vertex AI's: leave projects/… out of the path and call {GENERATE}."
NO_RETRIEVAL = "Retrieval is not supported; put the passages into the prompt."
NOT_OPENAI = f"The OpenAI-compatible paths are not supported; call {GENERATE}."
NO_FILES = (
    "Files are not supported; put the text itself into the contents, and examples into the training data."
)
NO_BATCHES = "Batches are not supported; call generateContent for each request, many at a time."
NO_INTERACTIONS = f"Interactions are not supported; call {GENERATE} with the whole conversation."
NO_IMAGES = "Images and videos are not supported; this service generates text."
NO_SESSIONS = "Live sessions are not supported; use streamGenerateContent."
PALM = "The PaLM methods are gone; generateText and generateContent answer here."

ELSEWHERE = (
    (r"/v1\w*/(openai(/|$)|((chat/)?completions|embeddings|responses)$)", NOT_OPENAI),
    (r"/((up|down)load/)?v1\w*/(files|generatedFiles|media)(/|:|$)", NO_FILES),
    (r"/v1\w*/cachedContents(/|$)", NO_CACHES),
    (r"/v1\w*/batches(/|:|$)", NO_BATCHES),
    (r"/v1\w*/(interactions|agents)(/|$)", NO_INTERACTIONS),
    (r"/v1\w*/(corpora|ragStores|fileSearchStores)(/|:|$)", NO_RETRIEVAL),
    (MODEL + r":(embedContent|batchEmbedContents|embedText|batchEmbedText)$", NO_EMBEDDINGS),
    (MODEL + r":(predict|predictLongRunning)$", NO_IMAGES),
    (MODEL + r":(generateMessage|countMessageTokens|countTextTokens|createTunedTextModel)$", PALM),
    (MODEL + r":bidiGenerateContent$|/v1\w*/(authTokens|auth_tokens)(/|:|$)|/ws/", NO_SESSIONS),
    (r"/v1\w*/models/tunedModels/", "This method wants the tuned model's own name: leave models/ out of the path."),
    (r"/v1\w*/dynamic/", f"Dynamic models are not supported; call {GENERATE}."),
    (r"/v1\w*/projects/", NOT_VERTEX),
    (r"/\$discovery/OPENAPI3_0$", "The OpenAPI description is at /openapi.json."),
    (r"/(v1\w*)/v1\w*/", "The path has the version twice: the base address is to end before it, without /v1beta."),
    (r"/(tunedModels|models|operations)(/|$)", "The version is missing: paths begin with /v1beta/."),
    (r"/v1\w*/.+/$", "Leave out the slash at the end of the path."),
)  # fmt: skip


SERVICES = (
    (r"FileService/", NO_FILES),
    (r"CacheService/", NO_CACHES),
    (r"BatchService/", NO_BATCHES),
    (r"RetrieverService/", NO_RETRIEVAL),
    (r"PredictionService/", NO_IMAGES),
    (r"TextService/(Batch)?EmbedText$", NO_EMBEDDINGS),
    (r"DiscussService/|TextService/CountTextTokens$", PALM),
    (r"GenerativeService/BidiGenerateContent$", NO_SESSIONS),
)  # the same on gRPC, by service and method


def find(path: str) -> str:
    """Return what to use instead of a path that no method has, or ""."""
    return next((sentence for pattern, sentence in ELSEWHERE if re.match(pattern, path)), "")


def find_called(method: str) -> str:
    """Return what to use instead of a gRPC method (/package.Service/Method) that is not here, or ""."""
    name = re.fullmatch(r"/google\.ai\.generativelanguage\.v1\w*\.(\w+/\w+)", method)
    matching = (sentence for pattern, sentence in SERVICES if name and re.match(pattern, name[1]))
    return next(matching, "")
