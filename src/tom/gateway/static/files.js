// Where the files of a conversation are fetched from.

/** The address of a file of a conversation, for an <img> or a link. */
export function fileAddress(conversationId, file) {
  return `/sessions/${encodeURIComponent(conversationId)}/files/${encodeURIComponent(file)}`;
}
