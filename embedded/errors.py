"""Everything that can go wrong here, named by what the reader of the message can do about it.

    EmbeddedError            the message says what, where and what to do; show it and stop
    ├── PartFailed           a part did not start or did not become ready: carries its log's tail
    ├── JarsUnavailable      Kafka's jars could not be fetched
    ├── JarMismatch          a jar is not the one whose checksum is recorded
    ├── WrongRequest         the caller asked for something that cannot be (unknown part, bad count)
    └── StackUnreachable     the supervisor did not answer in time
"""

from pathlib import Path
from typing import override
