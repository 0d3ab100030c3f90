"""Describe each failure code in a sentence. Programs branch on the codes; docs/failure-codes.md explains them."""

import re

from nightscribe.shared.errors import UNKNOWN

SENTENCES = {
    "archived": "They are in an archive (storage class).",
    "cancelled": "Somebody cancelled their jobs.",
    "changed": "They were changed after they were queued.",
    "credentials_expired": "The credentials have expired.",
    "cut_off": "They were cut off before their end.",
    "database_unreachable": "The server's database does not respond.",
    "disk_full": "The disk is full.",
    "empty": "They are empty or hold nothing but zero bytes.",
    "encrypted": "They are encrypted.",
    "ffmpeg_failed": "ffmpeg was killed or did not end.",
    "ffmpeg_missing": "ffmpeg was missing on the workers for an hour.",
    "format_unusable": "A text format is not installed or fails.",
    "gone": "They are no longer in the source.",
    "interrupted": "The process was asked to stop.",
    "job_not_understood": "The message is not a job.",
    "job_too_large": "The job is too large for a message.",
    "lease_lost": "The lease ran out.",
    "model_unavailable": "No worker could load their model or engine.",
    "machine_trouble": "The workers' machines had problems for an hour.",
    "model_refused": "The workers' settings do not allow their model.",
    "name_too_long": "Their names are too long.",
    "newer_record": "A newer nightscribe wrote their records.",
    "no_audio_track": "They have no audio track, or not the one that was requested.",
    "no_sound": "No sound in them can be decoded.",
    "not_audio": "They are not recordings.",
    "not_readable": "They cannot be read.",
    "out_of_memory": "There was not enough memory.",
    "outside_source": "They are links that lead out of the source.",
    "part_damaged": "A part of them that was transcribed earlier is damaged.",
    "queue_unreachable": "The queue does not respond.",
    "queue_unusable": "The queue cannot be used as it is.",
    "setup": "Something must be set up first.",
    "signature_wrong": "Their job was not signed with the secret of the queue.",
    "storage_unreachable": "The disk, share or bucket does not respond.",
    "storage_unusable": "The share or bucket does not exist, or refuses requests.",
    "text_not_sound": "They hold text, not sound.",
    UNKNOWN: "They failed for other reasons.",
    "url_failed": "Their URLs could not be fetched.",
    "url_refused": "Their URLs may not be fetched.",
    "value_refused": "A value is not valid.",
    "weights_unusable": "The model's weights cannot be found, downloaded or trusted.",
    "worker_died": "Their worker died or was stopped each time.",
}
"""Every code with a sentence about all recordings that failed with it."""

# The first release recorded no codes. These are its sentences that had only one possible cause.
_OF_THE_FIRST_RELEASE = {
    r"It is empty \(0 bytes\)\.|It holds nothing but zero bytes\.": "empty",
    r"It holds text, not sound\.": "text_not_sound",
    r"It holds an? (JPEG|PNG|GIF) picture, not sound\.|It holds a PDF document, not sound\.": "not_audio",
    r"It holds a (ZIP|gzip) archive, not sound\.|It is no recording: ffmpeg finds no audio .*": "not_audio",
    r"It was cut off: the index at the end of the file is missing.*": "cut_off",
    r"It holds pictures but no sound: there is no audio track in it\.": "no_audio_track",
    r"Its header is that of a recording, but no sound follows that can be decoded\.": "no_sound",
    r"It was changed (after it was queued|while it was transcribed); .*": "changed",
    r"'.*' is no longer in the source\.": "gone",
    r"'.*' may not be read by this user; change its permissions\.": "not_readable",
    r"It was begun \d+ times and never finished: its worker died .*": "worker_died",
    r"Its name is too long: .*": "name_too_long",
    r"It lies in an archive \(storage class\); .*": "archived",
}


def code_of_first_release(reason: str) -> str:
    """Return the code of a failure that the first release recorded, or `unknown` if the reason is ambiguous."""
    for pattern, code in _OF_THE_FIRST_RELEASE.items():
        if re.fullmatch(pattern, reason, re.DOTALL):
            return code
    return UNKNOWN
