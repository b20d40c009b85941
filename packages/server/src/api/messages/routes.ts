import type { Message, MessageField } from '@scoria/core';
import { z } from 'zod';
import { nothing, route, type CallBase } from '../../http/route.ts';
import { dateTime, dateTimeSchema } from '../date-time.ts';
import { linksSchema, resourceLinks } from '../links.ts';
import { Listing, pageLinks, pageLinksSchema, textFilter } from '../listing.ts';

const messageSchema = z.object({
  id: z.string(),
  event_id: z.string(),
  user_message: z.string(),
  message_level: z.string(),
  created_at: dateTimeSchema,
  guaranteed_until: dateTimeSchema,
  request_id: z.string(),
  resource_type: z.string(),
  resource_uuid: z.string().optional(),
  links: linksSchema,
});

function messageView(call: CallBase, message: Message): z.input<typeof messageSchema> {
  return {
    id: message.id,
    event_id: message.code,
    user_message: `${message.action}: ${message.text}`,
    message_level: message.level,
    created_at: dateTime(message.createdAt),
    guaranteed_until: dateTime(message.guaranteedUntil),
    request_id: message.requestId,
    resource_type: message.resourceType,
    ...(message.resourceId !== null && { resource_uuid: message.resourceId }),
    links: resourceLinks(call, `messages/${message.id}`),
  };
}

/** What can be asked of a list of messages. */
export const messageListing = new Listing<MessageField>({
  resource: 'message',
  filters: {
    resource_uuid: textFilter('resourceId'),
    resource_type: textFilter('resourceType'),
    event_id: textFilter('code'),
    request_id: textFilter('requestId'),
    message_level: textFilter('level'),
  },
  sort: {
    id: 'id',
    event_id: 'code',
    resource_uuid: 'resourceId',
    resource_type: 'resourceType',
    request_id: 'requestId',
    message_level: 'level',
    created_at: 'createdAt',
    guaranteed_until: 'guaranteedUntil',
  },
});

/** User messages: why something that was accepted did not come about. */
export const messageRoutes = [
  route({
    method: 'GET',
    path: '/messages',
    since: '3.3',
    summary: 'Lists the user messages',
    query: messageListing.querySchema,
    response: { 200: z.object({ messages: z.array(messageSchema), messages_links: pageLinksSchema }) },
    async handler(call) {
      // Filters and pages came with 3.5.
      const { query, empty } = call.atLeast('3.5') ? messageListing.read(call) : { query: {}, empty: false };
      const rows = empty ? [] : await call.storage.messages.list(call.context, query);
      return { messages: rows.map((message) => messageView(call, message)), messages_links: pageLinks(call, rows) };
    },
  }),
  route({
    method: 'GET',
    path: '/messages/:id',
    since: '3.3',
    summary: 'Shows a user message',
    response: { 200: z.object({ message: messageSchema }) },
    handler: async (call) => ({ message: messageView(call, await call.storage.messages.get(call.context, call.params.id)) }),
  }),
  route({
    method: 'DELETE',
    path: '/messages/:id',
    since: '3.3',
    summary: 'Deletes a user message',
    response: { 204: nothing },
    async handler({ storage, context, params }) {
      await storage.messages.delete(context, params.id);
    },
  }),
];
